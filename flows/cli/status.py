"""`enginefarm status`: pools, agents, waiting runs and failures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from flows.cli.options import WIDE_HINT, Json, Wide
from flows.cli.output import Output, print_json, show
from flows.cli.tables import Column, FittedTable
from flows.server.environment import prepare_prefect
from flows.server.view import FarmView, PoolView, S3AgentView
from tasks.domain.printable import printable, printable_name

_WATCH_SECONDS = 2.0
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def status(
    *,
    failures: Annotated[int, typer.Option(min=0, max=200, help="How many recent failures to show.")] = 5,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every two seconds until Ctrl-C.")] = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Show the farm: pools and agents, running and waiting builds, and recent failures."""
    prepare_prefect()
    view = asyncio.run(_read_view(failures))
    if as_json:
        print_json(asdict(view))
    elif watch:
        with Live(page(view, wide=wide), console=Output(soft_wrap=False), auto_refresh=False) as live:
            while True:
                time.sleep(_WATCH_SECONDS)
                live.update(page(asyncio.run(_read_view(failures)), wide=wide), refresh=True)
    else:
        show(page(view, wide=wide))


async def _read_view(failures: int) -> FarmView:
    # Importing Prefect takes seconds, which `--help` saves.
    from flows.server.client import farm_client  # noqa: PLC0415
    from flows.server.status import farm_view  # noqa: PLC0415

    async with farm_client() as client:
        return await farm_view(client, failures=failures)


_AGENTS = (
    Column(name="pool", shrinks=True),
    Column(name="agent", shrinks=True),
    Column(name="state"),
    Column(name="run", shrinks=True),
    Column(name="id"),
    Column(name="since", rank=1),
)
_S3_AGENTS = (
    Column(name="S3 agent", shrinks=True),
    Column(name="places", shrinks=True),
    Column(name="state"),
    Column(name="last listing"),
    Column(name="queue"),
)
_WAITING = (
    Column(name="pool", shrinks=True),
    Column(name="run", shrinks=True),
    Column(name="id"),
    Column(name="queue"),
    Column(name="state", rank=1),
    Column(name="for"),
    Column(name="done in"),
)


def page(view: FarmView, *, wide: bool) -> Group:
    """Return what the command shows: agents, waiting runs and the last failures."""
    if not view.pools:
        text = "The farm has no pools on this server: `enginefarm deploy`, then `enginefarm agent …`."
        return Group(Text(text), *_s3_agents(view, wide=wide), *_failure_lines(view))
    agents = [row for pool in view.pools for row in _agent_rows(pool)]
    parts: list[RenderableType] = [
        FittedTable(title="Agents", columns=_AGENTS, rows=agents, wide=wide, hint=WIDE_HINT)
    ]
    parts += _s3_agents(view, wide=wide)
    if waiting := [row for pool in view.pools for row in _waiting_rows(pool)]:
        parts += [
            Text(""),
            FittedTable(title="Waiting", columns=_WAITING, rows=waiting, wide=wide, hint=WIDE_HINT),
        ]
    parts += _unserved_pools(view)
    return Group(*parts, *_failure_lines(view))


def _agent_rows(pool: PoolView) -> Iterator[tuple[str, ...]]:
    """Yield a row for each run of each agent, and one row for an agent without runs."""
    name = f"{pool.name} (paused)" if pool.paused else pool.name
    if not pool.agents:
        yield name, "none", "", "", "", ""
    for agent in pool.agents:
        # Names of the farm's own agents contain the pool.
        short = agent.name.removesuffix(f"-{pool.name}")
        for run in agent.runs:
            state = run.state if agent.online else f"{run.state}, offline"
            yield name, short, state, run.name, run.id[:8], _ago(run.since)
        if not agent.runs:
            yield (
                name,
                short,
                *(("idle", "", "", "") if agent.online else ("offline", "", "", _ago(agent.seen))),
            )


def _s3_agents(view: FarmView, *, wide: bool) -> Iterator[RenderableType]:
    """Yield a table of S3 agents, and what to do about those that are gone."""
    if not view.s3_agents:
        return
    yield Text("")
    rows = list(map(_s3_agent_row, view.s3_agents))
    yield FittedTable(title="S3 agents", columns=_S3_AGENTS, rows=rows, wide=wide, hint=WIDE_HINT)
    watched = {place for agent in view.s3_agents if agent.online for place in agent.places}
    for agent in view.s3_agents:
        if unwatched := [place for place in agent.places if place not in watched and not agent.online]:
            text = (
                f"No S3 agent watches {', '.join(unwatched)}: uploads there start no builds. Start "
                f"`enginefarm agent s3` on {agent.host}; if it shall be gone, delete the variable "
                f"{agent.variable} in Prefect's UI."
            )
            yield Text(printable_name(text), style="bold")


def _s3_agent_row(agent: S3AgentView) -> tuple[str, ...]:
    state = "online" if agent.online else f"offline, {_ago(agent.seen)}"
    depth = "unknown" if agent.waiting is None else f"{agent.waiting} waiting, {agent.in_flight} in flight"
    listed = _ago(agent.listed) if agent.listed else "none yet"
    return agent.host, ", ".join(agent.places), state, listed, depth if agent.queue else "none"


def _unserved_pools(view: FarmView) -> Iterator[RenderableType]:
    # Importing Prefect takes seconds, which `--help` saves.
    from agents.server.pools import advice  # noqa: PLC0415

    for pool in view.pools:
        if pool.waiting and not any(agent.online for agent in pool.agents):
            name, number = printable_name(pool.name), len(pool.waiting)
            runs = f"{number} run{'' if number == 1 else 's'}"
            yield Text(f"No agent takes the {runs} waiting in {name}. {advice(name)}", style="bold")


def _waiting_rows(pool: PoolView) -> Iterator[tuple[str, ...]]:
    for waiting_run in pool.waiting:
        seconds = waiting_run.done_in_seconds
        done = "unknown" if seconds is None else f"about {_span(seconds)}"
        identity = (pool.name, waiting_run.name, waiting_run.id[:8], waiting_run.queue, waiting_run.state)
        yield *identity, _span(waiting_run.age_seconds), done


def _failure_lines(view: FarmView) -> Iterator[RenderableType]:
    if view.failures:
        yield Text("")
        yield Text("Last failures", style="italic")
    for run in view.failures:
        head = f"{printable_name(run.name)} {run.id[:8]}: {run.state} {_ago(run.since)}"
        yield Text(f"  {head}", style="bold")
        yield Text("\n".join(f"    {line}" for line in printable(run.text).splitlines()))


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
