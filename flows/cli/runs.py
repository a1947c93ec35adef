"""`enginefarm submit | cancel | retry | logs`: flow runs of the farm."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flows.addresses import release_at
from flows.cli.display import console
from flows.server.environment import prepare_prefect
from tasks.domain.printable import printable
from tasks.domain.priority import Priority
from tasks.domain.release import ReleaseRef
from tasks.domain.request import Precision

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from agents.server.release_runs import Started
    from flows.server.logs import LogLine
    from tasks.domain.overrides import Overrides

# Prefect takes seconds to import: `--help` goes without, so each command imports what it needs.

Run = Annotated[str, typer.Argument(help="Id of a flow run, the beginning of one, or the run's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")]


def submit(  # noqa: PLR0913 (each is an option)
    release: Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX/MODEL/VERSION")],
    *,
    precision: Annotated[
        list[Precision] | None, typer.Option(help="Build this precision; may be given several times.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Build for this device; may be given several times.")
    ] = None,
    priority: Annotated[Priority, typer.Option(help="What goes first.")] = Priority.DEFAULT,
    again: Annotated[
        bool, typer.Option("--again", help="A new run, even if the same was asked for.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is over.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Wait, and show its logs meanwhile.")] = False,
    as_json: Json = False,
) -> None:
    """Ask the farm to build a release. The same release with the same options is the same run."""
    ref = release_at(release)
    prepare_prefect()
    from tasks.domain.overrides import Overrides  # noqa: PLC0415

    overrides = Overrides(precisions=tuple(precision or ()), targets=tuple(target or ()), priority=priority)
    asked = asyncio.run(_ask(ref, overrides, again=again, say=(lambda _: None) if as_json else _say))
    if wait or watch:
        asked = replace(asked, run=asyncio.run(_end_of(asked.run, watch=watch and not as_json)))
        if not as_json:
            _say(_line(asked.run))
    if as_json:
        _print_json(asked)


def _print_json(asked: Started) -> None:
    run = asked.run
    found = {"id": str(run.id), "name": run.name, "state": run.state_name, "created": asked.created}
    print(json.dumps(found))  # noqa: T201 (this is what the command is asked for)


async def _ask(ref: ReleaseRef, overrides: Overrides, *, again: bool, say: Callable[[str], None]) -> Started:
    from flows.server import runs  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415

    async with farm_client() as client:
        asked = await runs.submit(client, ref, overrides, again=again)
    known = "" if asked.created else "; it was asked for before, --again makes a new run"
    say(f"{_line(asked.run)}{known}")
    return asked


async def _end_of(run: FlowRun, *, watch: bool) -> FlowRun:
    """Return `run` once it is over; raises as `farm_runs.wait`."""
    from flows.server import runs  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415
    from flows.server.logs import log_lines  # noqa: PLC0415
    from flows.server.run_ends import RunEnds  # noqa: PLC0415

    async with farm_client() as client:
        ends = RunEnds(client)
        if watch:
            async for line in log_lines(client, run, follow=True, ends=ends):
                _show(line)
        return await runs.wait(client, await client.read_flow_run(run.id), ends=ends)


def cancel(run: Run) -> None:
    """Cancel a flow run and what it submitted: builds end within seconds, and GPUs are free."""
    prepare_prefect()
    from flows.server import runs  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415

    async def stop() -> None:
        async with farm_client() as client:
            found = await runs.find_run(client, run)
            ended = await runs.cancel(client, found)
            for one in ended:
                _say(_line(one))
            if not ended:
                _say(f"{found.id} {found.name} was over: {found.state_name}")

    asyncio.run(stop())


def retry(run: Run) -> None:
    """Run a failed, crashed or cancelled flow run once more, under the same id."""
    prepare_prefect()
    from flows.server import runs  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415

    async def start() -> None:
        async with farm_client() as client:
            one = await runs.retry(client, await runs.find_run(client, run))
            _say(_line(one))

    asyncio.run(start())


def logs(
    run: Run,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run is over.")] = False,
) -> None:
    """Show the logs of a flow run and of what it submitted, in the order of time."""
    prepare_prefect()
    from flows.server import runs  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415
    from flows.server.logs import log_lines  # noqa: PLC0415

    async def read() -> None:
        async with farm_client() as client:
            found = await runs.find_run(client, run)
            async for line in log_lines(client, found, follow=follow):
                _show(line)
            if follow:
                _say(_line(await client.read_flow_run(found.id)))

    asyncio.run(read())


def _show(line: LogLine) -> None:
    style = "red" if line.level >= logging.ERROR else "yellow" if line.level >= logging.WARNING else ""
    head = f"{line.time.astimezone():%H:%M:%S} {line.run} | "
    first, *more = printable(line.text).splitlines() or [""]
    text = "\n".join((f"{printable(head)}{first}", *(f"    {one}" for one in more)))
    console.print(Text(text, style=style), soft_wrap=True)


def _line(run: FlowRun) -> str:
    return f"{run.id} {run.name}: {run.state_name}"


def _say(text: str) -> None:
    console.print(printable(text), highlight=False, markup=False, soft_wrap=True)
