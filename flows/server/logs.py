"""The logs of a flow run and of what it submitted, in the order of time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterTimestamp
from prefect.client.schemas.objects import FlowRun, Log
from prefect.client.schemas.sorting import LogSort

from flows.server.run_ends import RunEnds, is_final
from flows.server.runs import with_children

_PAGE = 200
_POLL_SECONDS = 1.0
_LAST_SECONDS = 4.0
"""Processes send their logs every two seconds: the last ones come after the final state."""
_LATE = timedelta(seconds=30)
"""How far behind those of others a process's logs may arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One log of one run."""

    run: str
    time: datetime
    level: int
    text: str


async def log_lines(
    client: PrefectClient, run: FlowRun, *, follow: bool, ends: RunEnds | None = None
) -> AsyncIterator[LogLine]:
    """Yield the logs of `run` and its children; with `follow` until all of them are over.

    Each is yielded once. Those that are there are in the order of time; one that arrives late comes then.
    `ends` tells what is over; who goes on to wait gives their own.

    Raises:
        FarmError: as `farm_client`.
    """
    seen: set[UUID] = set()
    newest: datetime | None = None
    over = False
    ends = ends or RunEnds(client)
    while True:
        runs = await with_children(client, run)
        names = {one.id: one.name for one in runs}
        for log in await _logs(client, list(names), None if newest is None else newest - _LATE):
            if log.id not in seen and log.flow_run_id is not None:
                seen.add(log.id)
                newest = log.timestamp if newest is None else max(newest, log.timestamp)
                name = names[log.flow_run_id]
                yield LogLine(run=name, time=log.timestamp, level=log.level, text=log.message)
        if not follow or over:
            return
        # A child that crashed comes again only while its parent waits for it.
        over = await ends.is_over(runs[0]) and all(map(is_final, runs))
        await asyncio.sleep(_LAST_SECONDS if over else _POLL_SECONDS)


async def _logs(client: PrefectClient, runs: list[UUID], since: datetime | None) -> list[Log]:
    found: list[Log] = []
    wanted = LogFilter(
        flow_run_id=LogFilterFlowRunId(any_=runs),
        timestamp=None if since is None else LogFilterTimestamp.model_validate({"after_": since}),
    )
    while True:
        page = await client.read_logs(wanted, limit=_PAGE, offset=len(found), sort=LogSort.TIMESTAMP_ASC)
        found += page
        if len(page) < _PAGE:
            return found
