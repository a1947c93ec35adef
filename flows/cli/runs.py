"""`enginefarm submit | cancel | retry | logs`: flow runs of the farm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flows.addresses import release_at
from flows.cli.options import Json, Precisions, Release, Targets, Verbose
from flows.cli.output import console, print_json, say
from flows.server.environment import prepare_prefect
from tasks.domain.printable import printable
from tasks.domain.priority import Priority
from tasks.domain.release import ReleaseRef

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from agents.server.release_runs import Started
    from flows.server.logs import LogLine
    from tasks.domain.overrides import Overrides

# Importing Prefect takes seconds, which `--help` saves: each command imports what it needs.

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="Name of the flow run, or the first digits of its ID.")
]


def submit(  # noqa: PLR0913 (each is an option)
    release: Release,
    *,
    precision: Precisions = None,
    target: Targets = None,
    priority: Annotated[Priority, typer.Option(help="Work queue of the run.")] = Priority.DEFAULT,
    again: Annotated[
        bool, typer.Option("--again", help="Start a new run even if one of the same request is not over.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the run has finished.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Wait, and show the logs meanwhile.")] = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Ask the farm to build a release.

    Until that run is over, submitting the same release with the same options again returns the same run.
    """
    ref = release_at(release)
    prepare_prefect()
    from tasks.domain.overrides import Overrides  # noqa: PLC0415

    overrides = Overrides(precisions=tuple(precision or ()), targets=tuple(target or ()), priority=priority)
    asked = asyncio.run(_ask(ref, overrides, again=again, say=(lambda _: None) if as_json else say))
    if wait or watch:
        least = _lowest_level(verbose=verbose) if watch and not as_json else None
        asked = replace(asked, run=asyncio.run(end_of(asked.run, logs_from=least)))
        if not as_json:
            say(describe_run(asked.run))
    if as_json:
        _print_submitted(asked)


def _print_submitted(asked: Started) -> None:
    run = asked.run
    print_json({"id": str(run.id), "name": run.name, "state": run.state_name, "created": asked.created})


async def _ask(ref: ReleaseRef, overrides: Overrides, *, again: bool, say: Callable[[str], None]) -> Started:
    from flows.server import runs  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415

    async with farm_client() as client:
        asked = await runs.submit(client, ref, overrides, again=again)
    note = "" if asked.created else "; submitted before (--again starts a new run)"
    say(f"{describe_run(asked.run)}{note}")
    return asked


def _lowest_level(*, verbose: bool) -> int:
    """Return the lowest level of logs to show."""
    return logging.DEBUG if verbose else logging.INFO


async def end_of(run: FlowRun, *, logs_from: int | None) -> FlowRun:
    """Return `run` once it is over; until then, print its logs from level `logs_from` on, unless it is None.

    Raises:
        FarmError: as `runs.wait`.
    """
    from flows.server import runs  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415
    from flows.server.logs import log_lines  # noqa: PLC0415
    from flows.server.run_ends import RunEnds  # noqa: PLC0415

    async with farm_client() as client:
        ends = RunEnds(client)
        if logs_from is not None:
            async for line in log_lines(client, run, follow=True, least=logs_from, ends=ends):
                _print_log(line)
        return await runs.wait(client, await client.read_flow_run(run.id), ends=ends)


def cancel(run: Run) -> None:
    """Cancel a flow run and its builds, which frees their GPUs within seconds."""
    prepare_prefect()
    from flows.server import runs  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415

    async def stop() -> None:
        async with farm_client() as client:
            flow_run = await runs.find_run(client, run)
            ended = await runs.cancel(client, flow_run)
            for cancelled in ended:
                say(describe_run(cancelled))
            if not ended:
                say(f"{flow_run.id} {flow_run.name} had already finished: {flow_run.state_name}")

    asyncio.run(stop())


def retry(run: Run) -> None:
    """Restart a failed, crashed or cancelled flow run, under the same ID."""
    prepare_prefect()
    from flows.server import runs  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415

    async def start() -> None:
        async with farm_client() as client:
            retried = await runs.retry(client, await runs.find_run(client, run))
            say(describe_run(retried))

    asyncio.run(start())


def logs(
    run: Run,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing until the run has finished.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Show the logs of a flow run and of its builds, in chronological order."""
    prepare_prefect()
    from flows.server import runs  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415
    from flows.server.logs import log_lines  # noqa: PLC0415

    async def read() -> None:
        async with farm_client() as client:
            flow_run = await runs.find_run(client, run)
            async for line in log_lines(
                client, flow_run, follow=follow, least=_lowest_level(verbose=verbose)
            ):
                _print_log(line)
            if follow:
                say(describe_run(await client.read_flow_run(flow_run.id)))

    asyncio.run(read())


def _print_log(line: LogLine) -> None:
    style = "red" if line.level >= logging.ERROR else "yellow" if line.level >= logging.WARNING else ""
    step = f"{line.step} | " if line.step else ""
    head = f"{line.time.astimezone():%H:%M:%S} {line.run} | {step}"
    first, *more = printable(line.text).splitlines() or [""]
    text = "\n".join((f"{printable(head)}{first}", *(f"    {following}" for following in more)))
    console.print(Text(text, style=style))


def describe_run(run: FlowRun) -> str:
    """Return a line with the id, name and state of `run`."""
    return f"{run.id} {run.name}: {run.state_name}"
