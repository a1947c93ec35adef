"""`enginefarm deploy`: registers the farm on its Prefect server, after showing what would change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.addresses import place_at
from flows.cli.options import Json
from flows.cli.output import print_json, say
from flows.server.environment import prepare_prefect

if TYPE_CHECKING:
    from agents.server.changes import Part, Plan

_COLOURS = {"create": "green", "change": "yellow", "keep": "dim"}

S3Events = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL",
        help="Let `s3.object.created` events on the server start builds of releases below "
        "s3://BUCKET/PREFIX. May be repeated. Not needed if `enginefarm agent s3` runs.",
    ),
]


def deploy(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Apply the changes without asking.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only show the changes; the exit code is 1 if there are any.")
    ] = False,
    s3_events: S3Events = None,
    as_json: Json = False,
) -> None:
    """Register the farm on its Prefect server, after showing what would change.

    The farm consists of pools, variables, deployments and automations. `deploy` keeps what an operator
    paused, rescheduled or wrote into a variable, and what an earlier `deploy` registered with other options.
    """
    places = tuple(map(place_at, s3_events or ()))
    prepare_prefect()
    # Importing Prefect takes seconds, which `--help` saves.
    from agents.server.changes import is_done  # noqa: PLC0415
    from flows.server.registration import farm_parts  # noqa: PLC0415

    parts = farm_parts(events_of=places)
    plan = asyncio.run(_each(parts, apply=False))
    if as_json:
        print_json([asdict(change) for change in plan])
    else:
        _show_plan(plan)
    if is_done(plan):
        return
    if check or not _apply(parts, yes=yes, as_json=as_json):
        raise typer.Exit(1)


def _apply(parts: Sequence[Part], *, yes: bool, as_json: bool) -> bool:
    """Apply the changes unless a person declines; return whether they were applied."""
    if not (yes or typer.confirm("Apply?", default=False, err=True)):
        _report("Nothing was changed.", as_json=as_json)
        return False
    done = asyncio.run(_each(parts, apply=True))
    _report(f"Applied {sum(change.action != 'keep' for change in done)} changes.", as_json=as_json)
    return True


def _report(text: str, *, as_json: bool) -> None:
    if not as_json:
        say(text)


async def _each(parts: Sequence[Part], *, apply: bool) -> Plan:
    from flows.server.client import farm_client  # noqa: PLC0415

    async with farm_client() as client:
        plans = [await (part.apply(client) if apply else part.plan(client)) for part in parts]
    return [change for plan in plans for change in plan]


def _show_plan(plan: Plan) -> None:
    say("The farm on its Prefect server", style="italic")
    width = max((len(change.kind) for change in plan), default=0)
    for change in plan:
        lines = [f"{change.action:6}  {change.kind:{width}}  {change.name}"]
        lines += [f"        {line}" for detail in change.details for line in detail.splitlines()]
        say("\n".join(lines), style=_COLOURS[change.action])
