"""`enginefarm reconcile`: what is missing, and the farm's builds of it, without waiting for the night."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from flows.addresses import place_at
from flows.cli.options import Json
from flows.cli.output import print_json, say, show
from flows.cli.runs import describe_run, end_of
from flows.cli.tables import Column, FittedTable
from flows.server.environment import prepare_prefect
from flows.settings import settings
from tasks.domain.errors import RequestInvalid

_COLUMNS = (Column(name="release", shrinks=True), Column(name="lacks"))


def reconcile(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PLACE]...",
            help="Places of releases, s3://BUCKET/PREFIX. Default: those that the farm checks every night; "
            "with --dry-run $ENGINEFARM_RELEASES.",
        ),
    ] = None,
    *,
    budget: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of builds to start.")] = 20,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what is missing. Needs S3 alone, no Prefect server.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Wait, and show the logs meanwhile.")] = False,
    as_json: Json = False,
) -> None:
    """Have the farm build what releases lack, now instead of at night."""
    urls = tuple(place_at(url).url for url in places or ())
    if dry_run:
        _list_missing(urls or tuple(settings().releases.split()), as_json=as_json)
        return
    prepare_prefect()
    asyncio.run(_start(urls, budget, watch=watch, as_json=as_json))


def _list_missing(urls: Sequence[str], *, as_json: bool) -> None:
    from flows.release.missing_cells import needs_of, releases_below, rows  # noqa: PLC0415 (hashes sources)

    if not urls:
        raise RequestInvalid(
            wanted="places of releases",
            found="neither a place nor ENGINEFARM_RELEASES",
            fix="give s3://BUCKET/PREFIX, the folder above the models",
        )
    releases = [release for url in dict.fromkeys(urls) for release in releases_below(place_at(url))]
    needs = needs_of(releases, datetime.now(UTC))
    lacks = {each.release.ref.url: [*rows(each), *([each.problem] if each.problem else [])] for each in needs}
    if as_json:
        print_json([{"release": url, "lacks": lines} for url, lines in lacks.items()])
        return
    table = [(url, line) for url, lines in lacks.items() for line in lines or ["nothing"]]
    show(FittedTable(title="What releases lack", columns=_COLUMNS, rows=table))


async def _start(places: tuple[str, ...], budget: int, *, watch: bool, as_json: bool) -> None:
    from flows.server import runs  # noqa: PLC0415
    from flows.server.client import farm_client  # noqa: PLC0415

    async with farm_client() as client:
        run = await runs.start_reconcile(client, places=places, budget=budget)
    if not as_json:
        say(describe_run(run))
    if watch:
        run = await end_of(run, logs_from=None if as_json else logging.INFO)
        if not as_json:
            say(describe_run(run))
    if as_json:
        print_json({"id": str(run.id), "name": run.name, "state": run.state_name})
