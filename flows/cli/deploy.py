"""`enginefarm deploy`: register the farm on its Prefect server, after showing what that changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.addresses import place_at
from flows.cli.display import console
from flows.server.environment import prepare_prefect
from tasks.domain.printable import printable

if TYPE_CHECKING:
    from agents.server.changes import Part, Plan

_COLOURS = {"create": "green", "change": "yellow", "keep": "dim"}

S3Events = Annotated[
    list[str] | None,
    typer.Option(
        help="Have events `s3.object.created` on the server start builds of releases below this place, "
        "s3://BUCKET/PREFIX; may be given several times. Not needed where `agent s3` runs."
    ),
]


def deploy(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Apply without asking.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only show; exit with 1 if something would change.")
    ] = False,
    s3_events: S3Events = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the changes as a JSON list.")] = False,
) -> None:
    """Register pools, variables, deployments and automations on Prefect's server, after showing the changes.

    What is as it should be is left alone, and so is what an operator paused, scheduled otherwise or wrote
    into a variable, or what was asked for earlier and is not now.
    """
    places = tuple(map(place_at, s3_events or ()))
    prepare_prefect()
    # Prefect takes seconds to import: `--help` goes without.
    from agents.server.changes import is_done  # noqa: PLC0415
    from flows.server.registration import farm_parts  # noqa: PLC0415

    parts = farm_parts(events_of=places)
    plan = asyncio.run(_each(parts, apply=False))
    if as_json:
        print(json.dumps([asdict(change) for change in plan]))  # noqa: T201
    else:
        _show(plan)
    if is_done(plan):
        return
    if check or not _apply(parts, yes=yes, as_json=as_json):
        raise typer.Exit(1)


def _apply(parts: Sequence[Part], *, yes: bool, as_json: bool) -> bool:
    """Make the changes, unless a person says no; return whether they were made."""
    if not (yes or typer.confirm("Apply?", default=False, err=True)):
        _say("Nothing was changed.", as_json=as_json)
        return False
    done = asyncio.run(_each(parts, apply=True))
    _say(f"Applied {sum(change.action != 'keep' for change in done)} changes.", as_json=as_json)
    return True


def _say(text: str, *, as_json: bool) -> None:
    if not as_json:
        console.print(text, highlight=False)


async def _each(parts: Sequence[Part], *, apply: bool) -> Plan:
    from flows.server.client import farm_client  # noqa: PLC0415

    async with farm_client() as client:
        plans = [await (part.apply(client) if apply else part.plan(client)) for part in parts]
    return [change for plan in plans for change in plan]


def _show(plan: Plan) -> None:
    table = Table(title="The farm on its Prefect server", title_justify="left")
    for name in ("", "what", "name", "details"):
        table.add_column(name, overflow="fold")
    for change in plan:
        cells = (change.action, change.kind, change.name, "\n".join(change.details))
        row = (escape("\n".join(printable(line) for line in cell.splitlines())) for cell in cells)
        table.add_row(*row, style=_COLOURS[change.action])
    console.print(table)
