"""The command line, `enginefarm …`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from flows.addresses import release_at
from flows.clean_logs import show_tracebacks
from flows.cli import agent, channel, engines, quarantine, timing
from flows.cli.deploy import deploy
from flows.cli.display import (
    ERROR_LEGEND,
    documents_json,
    engine_table,
    progress_bars,
    records_json,
    show_error,
)
from flows.cli.doctor import doctor
from flows.cli.interrupts import InterruptibleGroup
from flows.cli.options import WIDE_HINT, Json, Precisions, Release, Targets, Verbose, Wide
from flows.cli.output import console, print_failure, print_json, say, show
from flows.cli.publish import check, publish, requests
from flows.cli.recent_runs import runs
from flows.cli.reconcile import reconcile
from flows.cli.resolve import resolve
from flows.cli.run import run
from flows.cli.runs import cancel, logs, retry, submit
from flows.cli.signing import keys, sign, verify
from flows.cli.status import status
from flows.cli.targets import targets
from flows.cli.transfer import bundle, oci, unbundle
from flows.cli.up import up
from flows.local.temporary_server import temporary_server
from flows.release.stored_engines import stored_outcome
from tasks.domain.errors import FarmError, Interrupted
from tasks.domain.order import ReleaseOutcome
from tasks.domain.overrides import Overrides
from tasks.domain.release import ReleaseRef

_BUILD, _STORED, _FARM = "Build engines", "Stored engines", "Run a farm"

app = typer.Typer(
    cls=InterruptibleGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:  # noqa: FBT001 (typer passes the option's value)
    if value:
        say(f"enginefarm {version('enginefarm')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Build TensorRT engines from TensorFlow 2 models: one per GPU and TensorRT version."""
    del show_version  # the callback has printed it


@app.command(
    rich_help_panel=_BUILD,
    epilog="Example: enginefarm build s3://my-bucket/models/resnet/v7 --target l4 --precision fp16",
)
def build(  # noqa: PLR0913 (each is an option)
    release: Release,
    *,
    precision: Precisions = None,
    target: Targets = None,
    wide: Wide = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Build the engines of a release that the store does not have yet."""
    ref = release_at(release)
    overrides = Overrides(precisions=tuple(precision or ()), targets=tuple(target or ()))
    with progress_bars():
        # Prefect and its server take seconds to start: what needs neither is asked first.
        outcome = asyncio.run(stored_outcome(ref, overrides)) or _build(ref, overrides, verbose=verbose)
    _show_outcome(outcome, wide=wide, as_json=as_json)


def _build(ref: ReleaseRef, overrides: Overrides, *, verbose: bool) -> ReleaseOutcome:
    """Run the flow that builds `ref`, on the Prefect server that is set or on a temporary one."""
    with temporary_server():
        # Prefect reads its settings when it is imported.
        from flows.build_release import build_release  # noqa: PLC0415
        from flows.server.client import check_own_server  # noqa: PLC0415

        check_own_server()
        if verbose:
            show_tracebacks()
        return asyncio.run(build_release(ref, overrides))


@app.command(rich_help_panel=_BUILD)
def demo(*, as_json: Json = False) -> None:
    """Build real engines from a small trained model, right here. Needs no GPU, account or server."""
    from flows.cli.demo import demo_world, run_demo, show_demo  # noqa: PLC0415 (see `build`)

    with demo_world(), temporary_server(), progress_bars():
        outcome = asyncio.run(run_demo())
    if as_json:
        again = {"found": outcome.found, "built": outcome.built, "seconds": round(outcome.seconds, 3)}
        print_json({"engines": records_json(outcome.engines), "again": again})
        return
    show_demo(console, outcome)


def _show_outcome(outcome: ReleaseOutcome, *, wide: bool, as_json: bool) -> None:
    documents = engines.read_documents(outcome)
    records = [document.record for document in documents]
    built = sum(cell.built for cell in outcome.cells)
    already_stored = len(outcome.cells) - built
    if as_json:
        skipped = [asdict(cell) for cell in outcome.skipped]
        stored = list(documents_json(documents))
        print_json({"engines": stored, "found": already_stored, "built": built, "skipped": skipped})
        return
    title, names = f"Engines of {outcome.release.url}", engines.names_of(outcome)
    show(engine_table(records, title=title, names=names, wide=wide, hint=WIDE_HINT))
    say(ERROR_LEGEND)
    derived = {name: record.options.shapes[name] for record in records for name in record.derived_shapes}
    for name, shape in derived.items():
        say(f"Shapes of {name}, from the signature: min {shape.min}, opt {shape.opt}, max {shape.max}")
    for cell in outcome.skipped:
        say(f"Left out: {cell.device} {cell.precision}: {cell.reason}.")
    say(f"{already_stored} found, {built} built.")


def _add(command: Callable[..., None], panel: str, example: str = "") -> None:
    app.command(rich_help_panel=panel, epilog=f"Example: enginefarm {example}" if example else None)(command)


_add(check, _BUILD, "check resnet-v7")
_add(publish, _BUILD, "publish resnet-v7 s3://my-bucket/models/resnet/v7")
_add(requests, _BUILD, "requests s3://my-bucket/models/resnet/v7")
_add(targets, _BUILD, "targets h100")
_add(doctor, _BUILD, "doctor --store s3://my-bucket --toolchain /opt/trt-10.13")
app.add_typer(engines.app, name="engines", rich_help_panel=_STORED)
_add(run, _STORED, "run resnet.plan --input images.npz --output scores.npz")
_add(resolve, _STORED, "resolve resnet@production --gpu l4 --tensorrt 10.13.3.9")
app.add_typer(channel.app, name="channel", rich_help_panel=_STORED)
_add(bundle, _STORED, "bundle resnet@production --gpu l4 -o resnet.tar")
_add(unbundle, _STORED, "unbundle resnet.tar")
app.add_typer(oci, name="oci", rich_help_panel=_STORED)
_add(sign, _STORED, "sign --store s3://my-bucket --key awskms:///alias/enginefarm")
_add(verify, _STORED, "verify 3f9a1c07 --store s3://my-bucket --trust trust.json")
app.add_typer(keys, name="keys", rich_help_panel=_STORED)
app.add_typer(quarantine.app, name="quarantine", rich_help_panel=_STORED)
app.add_typer(timing.app, name="timing", rich_help_panel=_STORED)
_add(up, _FARM)
_add(deploy, _FARM)
app.add_typer(agent.app, name="agent", rich_help_panel=_FARM)
_add(submit, _FARM, "submit s3://my-bucket/models/resnet/v7 --priority production --watch")
_add(reconcile, _FARM, "reconcile --dry-run s3://my-bucket/models")
_add(status, _FARM)
_add(runs, _FARM)
_add(logs, _FARM, "logs -f resnet-v7")
_add(cancel, _FARM)
_add(retry, _FARM)


def main() -> None:
    """Run the command line and end the process with the exit code of the error, if there is one."""
    # SIGTERM ends the work as Ctrl-C does: child processes end, and unfinished work is cleaned up.
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.kill(os.getpid(), signal.SIGINT))
    try:
        app()
    except FarmError as error:
        if "--json" in sys.argv:
            print_failure(error.to_document())
        show_error(error)
        if isinstance(error, Interrupted):
            _end_now(error.exit_code)
        sys.exit(error.exit_code)


def _end_now(exit_code: int) -> NoReturn:
    """End the process without waiting for threads: they may wait for S3, for as long as it likes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    main()
