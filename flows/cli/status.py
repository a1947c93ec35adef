"""`enginefarm status`: pools, agents, what waits and what failed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.cli.display import console
from flows.server.environment import prepare_prefect
from flows.server.view import AgentView, FarmView, PoolView
from tasks.domain.printable import printable, printable_name

_WATCH_SECONDS = 2.0
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def status(
    *,
    failures: Annotated[int, typer.Option(min=0, max=200, help="How many of the last failures to show.")] = 5,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document for programs.")] = False,
) -> None:
    """Show pools and agents, what they do and since when, what waits and for how long, what failed."""
    prepare_prefect()
    view = asyncio.run(_look(failures))
    if as_json:
        print(json.dumps(asdict(view)))  # noqa: T201 (this is what the command is asked for)
    elif watch:
        with Live(_page(view), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(_WATCH_SECONDS)
                live.update(_page(asyncio.run(_look(failures))), refresh=True)
    else:
        console.print(_page(view))


async def _look(failures: int) -> FarmView:
    # Prefect takes seconds to import: `--help` goes without.
    from flows.server.client import farm_client  # noqa: PLC0415
    from flows.server.status import farm_view  # noqa: PLC0415

    async with farm_client() as client:
        return await farm_view(client, failures=failures)


def _page(view: FarmView) -> Group:
    if not view.pools:
        text = "The farm has no pools on this server: `enginefarm deploy`, then `enginefarm agent …`."
        return Group(text, *_failures(view))
    parts: list[RenderableType] = [_agents(view)]
    if any(pool.waiting for pool in view.pools):
        parts.append(_queue(view))
    parts += _unserved(view)
    return Group(*parts, *_failures(view))


def _agents(view: FarmView) -> Table:
    table = _table("Agents", "pool", "agent", "state", "does", "since")
    for pool in view.pools:
        name = f"{pool.name} (paused)" if pool.paused else pool.name
        if not pool.agents:
            table.add_row(escape(printable_name(name)), "none", "", "", "")
        for agent in pool.agents:
            for row in _doing(agent):
                table.add_row(*(escape(printable_name(cell)) for cell in (name, agent.name, *row)))
    return table


def _doing(agent: AgentView) -> list[tuple[str, str, str]]:
    """Return state, what it does and since when, in one row for each thing."""
    state = "online" if agent.online else "offline"
    if agent.runs:
        return [(state, f"{run.state} {run.name} {run.id[:8]}", _ago(run.since)) for run in agent.runs]
    return [(state, "nothing" if agent.online else "", "" if agent.online else f"seen {_ago(agent.seen)}")]


def _queue(view: FarmView) -> Table:
    table = _table("Waiting", "pool", "queue", "run", "id", "state", "for", "done in")
    for pool in view.pools:
        for row in _waiting(pool):
            table.add_row(*(escape(printable_name(cell)) for cell in row))
    return table


def _unserved(view: FarmView) -> Iterator[RenderableType]:
    # Prefect takes seconds to import: `--help` goes without.
    from agents.server.pools import advice  # noqa: PLC0415

    for pool in view.pools:
        if pool.waiting and not any(agent.online for agent in pool.agents):
            name, number = printable_name(pool.name), len(pool.waiting)
            runs = f"{number} run{'' if number == 1 else 's'}"
            yield Text(f"Nobody takes the {runs} that wait in {name}. {advice(name)}", style="bold")


def _waiting(pool: PoolView) -> Iterator[tuple[str, ...]]:
    for one in pool.waiting:
        done = "unknown" if one.done_in_seconds is None else f"about {_span(one.done_in_seconds)}"
        yield pool.name, one.queue, one.name, one.id[:8], one.state, _span(one.age_seconds), done


def _failures(view: FarmView) -> Iterator[RenderableType]:
    if view.failures:
        yield Text("Last failures", style="italic")
    for run in view.failures:
        head = f"{printable_name(run.name)} {run.id[:8]}: {run.state} {_ago(run.since)}"
        yield Text(f"  {head}", style="bold")
        yield Text("\n".join(f"    {line}" for line in printable(run.text).splitlines()))


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _ago(moment: str | None) -> str:
    if moment is None:
        return ""
    return f"{_span((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())} ago"


def _span(seconds: float) -> str:
    """Return a duration for people, in its two largest units."""
    whole = max(0, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"
