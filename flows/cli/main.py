"""The command line, `enginefarm …`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from flows.addresses import release_at
from flows.cli import agent, engines, quarantine, timing
from flows.cli.deploy import deploy
from flows.cli.display import console, documents_json, engine_table, progress_bars, records_json, show_error
from flows.cli.doctor import doctor
from flows.cli.publish import publish
from flows.cli.run import run
from flows.cli.runs import cancel, logs, retry, submit
from flows.cli.status import status
from flows.cli.up import up
from flows.local.temporary_server import temporary_server
from tasks.domain.errors import FarmError, Interrupted
from tasks.domain.order import ReleaseOutcome
from tasks.domain.printable import printable
from tasks.domain.request import Precision

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(engines.app, name="engines")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(timing.app, name="timing")
app.add_typer(agent.app, name="agent")
app.command()(doctor)
app.command()(run)
app.command()(publish)
for command in (deploy, status, submit, cancel, retry, logs, up):
    app.command()(command)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")]


@app.command()
def demo(*, as_json: Json = False) -> None:
    """Build real engines from a trained model on this machine: no GPU, account or server is needed."""
    from flows.cli.demo import demo_world, run_demo, show_demo  # noqa: PLC0415 (see `_run`)

    with _interruptible(), demo_world(), temporary_server(), progress_bars():
        outcome = asyncio.run(run_demo())
    if as_json:
        again = {"found": outcome.found, "built": outcome.built, "seconds": round(outcome.seconds, 3)}
        _print_json({"engines": records_json(outcome.engines), "again": again})
        return
    show_demo(console, outcome)


@app.command()
def build(
    release: Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX/MODEL/VERSION")],
    *,
    precision: Annotated[
        list[Precision] | None, typer.Option(help="Build this precision; may be given several times.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Build for this device, for example rtx-sm89 or l4; may be given several times."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build every engine that a release asks for and the store does not hold."""
    ref = release_at(release)
    with _interruptible(), temporary_server(), progress_bars():
        # Prefect takes seconds to import, and reads its settings then: other commands go without.
        from flows.build_release import build_release  # noqa: PLC0415
        from flows.server.client import check_own_server  # noqa: PLC0415
        from tasks.domain.overrides import Overrides  # noqa: PLC0415

        overrides = Overrides(precisions=tuple(precision or ()), targets=tuple(target or ()))
        check_own_server()
        outcome = asyncio.run(build_release(ref, overrides))
    _show_outcome(outcome, as_json=as_json)


def _show_outcome(outcome: ReleaseOutcome, *, as_json: bool) -> None:
    documents = engines.read_documents(outcome)
    records = [document.record for document in documents]
    built = sum(cell.built for cell in outcome.cells)
    found = len(outcome.cells) - built
    if as_json:
        skipped = [asdict(cell) for cell in outcome.skipped]
        _print_json(
            {"engines": documents_json(documents), "found": found, "built": built, "skipped": skipped}
        )
        return
    console.print(engine_table(records, title=f"Engines of {outcome.release.url}"))
    derived = {name: record.options.shapes[name] for record in records for name in record.derived_shapes}
    for name, shape in derived.items():
        text = f"min {shape.min}, opt {shape.opt}, max {shape.max}"
        line = printable(f"Shapes of {name}, from the signature: {text}")
        console.print(line, highlight=False, markup=False)
    for cell in outcome.skipped:
        line = printable(f"Left out: {cell.device} {cell.precision}: {cell.reason}.")
        console.print(line, highlight=False, markup=False)
    console.print(f"{found} found, {built} built.", highlight=False)


def _print_json(document: object) -> None:
    print(json.dumps(document))  # noqa: T201 (this is what the command is asked for)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn Ctrl-C into an error like all others; by then every child has been ended."""
    interrupted = Interrupted(
        wanted="to finish the work",
        found="a signal to stop",
        fix="give the same command again: what is stored will be found",
    )
    try:
        yield
    except (FarmError, SystemExit):
        raise
    except Exception as error:
        if not _follows_a_signal(error):
            raise
        raise interrupted from None
    except BaseException:  # noqa: BLE001 (KeyboardInterrupt, CancelledError, Prefect's own for SIGTERM)
        raise interrupted from None


def _follows_a_signal(error: BaseException) -> bool:
    """Return whether `error` came while a signal was handled: a temporary server may be gone by then."""
    cause = error.__context__
    while cause is not None:
        if isinstance(cause, (asyncio.CancelledError, KeyboardInterrupt)):
            return True
        cause = cause.__context__
    return False


def main() -> None:
    """Run the command line and end the process with the exit code of the error, if there is one."""
    # SIGTERM ends the work as Ctrl-C does: children are ended, and what is half done goes away.
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.kill(os.getpid(), signal.SIGINT))
    try:
        app()
    except FarmError as error:
        show_error(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
