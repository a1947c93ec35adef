"""`enginefarm runs`: the last runs of the farm."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer

from flows.cli.options import WIDE_HINT, Json, Wide
from flows.cli.output import print_json, show
from flows.cli.tables import Column, FittedTable
from flows.server.environment import prepare_prefect
from flows.server.view import ListedRun

_COLUMNS = (
    Column(name="run"),
    Column(name="release", shrinks=True),
    Column(name="state"),
    Column(name="started by", rank=2),
    Column(name="at", rank=1),
    Column(name="seconds", rank=3, right=True),
    Column(name="name", rank=4),
)
_SHORT = 8


def runs(
    *,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many runs to list.")] = 20,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """List the last runs of the farm, the newest first, also those that S3 or a schedule started."""
    prepare_prefect()
    listed = asyncio.run(_read(limit))
    if as_json:
        print_json([asdict(run) for run in listed])
        return
    rows = [_run_row(run, wide=wide) for run in listed]
    show(
        FittedTable(
            title=f"The last {len(rows)} runs", columns=_COLUMNS, rows=rows, wide=wide,
            hint=WIDE_HINT,
        )
    )  # fmt: skip


async def _read(limit: int) -> tuple[ListedRun, ...]:
    # Importing Prefect takes seconds, which `--help` saves.
    from flows.server.client import farm_client  # noqa: PLC0415
    from flows.server.recent_runs import recent_runs  # noqa: PLC0415

    async with farm_client() as client:
        return await recent_runs(client, limit=limit)


def _run_row(run: ListedRun, *, wide: bool) -> tuple[str, ...]:
    return (
        run.id if wide else run.id[:_SHORT],
        run.release.removeprefix("s3://").rstrip("/") or run.name,
        run.state,
        run.way,
        run.started.replace("T", " ").removesuffix("+00:00"),
        f"{run.seconds:.0f}",
        run.name,
    )
