"""The logs of a flow run and of the runs that it submitted, in chronological order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    LogFilter,
    LogFilterFlowRunId,
    LogFilterLevel,
    LogFilterTimestamp,
    TaskRunFilter,
    TaskRunFilterId,
)
from prefect.client.schemas.objects import FlowRun, Log
from prefect.client.schemas.sorting import LogSort

from flows.server.run_ends import RunEnds, is_final
from flows.server.runs import with_children

_PAGE = 200
_POLL_SECONDS = 1.0
_LAST_SECONDS = 4.0
"""Processes send their logs every two seconds: the last logs arrive after the final state."""
_LATE = timedelta(seconds=30)
"""How much later than those of other processes a process's logs may arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One log record of one run.

    Attributes:
        run: the name of the flow run, which contains release and cell.
        step: the name of the task run that logged it; empty if the flow itself did.
        time: when, with a time zone.
        level: as in `logging`.
        text: the message; tracebacks have several lines.
    """

    run: str
    step: str
    time: datetime
    level: int
    text: str


async def log_lines(
    client: PrefectClient,
    run: FlowRun,
    *,
    follow: bool,
    least: int = logging.INFO,
    ends: RunEnds | None = None,
) -> AsyncIterator[LogLine]:
    """Yield the logs of `run` and its children, without duplicates, in order of time as far as possible.

    Args:
        client: of the farm's server.
        run: the run.
        follow: whether to poll until all runs are over.
        least: the lowest level. Tracebacks of the farm's own errors are logged at DEBUG.
        ends: decides which runs are over; a caller that waits for the run afterwards passes its own.

    Raises:
        FarmError: as `farm_client`.
    """
    seen: set[UUID] = set()
    steps: dict[UUID, str] = {}
    newest: datetime | None = None
    over = False
    ends = ends or RunEnds(client)
    while True:
        runs = await with_children(client, run)
        names = {each.id: each.name for each in runs}
        since = None if newest is None else newest - _LATE
        new = [log for log in await _read_logs(client, list(names), since, least) if log.id not in seen]
        await _name_steps(client, new, steps)
        for log in new:
            seen.add(log.id)
            newest = log.timestamp if newest is None else max(newest, log.timestamp)
            yield _log_line(log, names, steps)
        if not follow or over:
            return
        # A child that crashed is restarted only while its parent waits for it.
        over = await ends.is_over(runs[0]) and all(map(is_final, runs))
        await asyncio.sleep(_LAST_SECONDS if over else _POLL_SECONDS)


def _log_line(log: Log, runs: Mapping[UUID, str], steps: Mapping[UUID, str]) -> LogLine:
    run = "" if log.flow_run_id is None else runs[log.flow_run_id]
    step = "" if log.task_run_id is None else steps.get(log.task_run_id, "")
    return LogLine(run=run, step=step, time=log.timestamp, level=log.level, text=log.message)


async def _name_steps(client: PrefectClient, logs: list[Log], steps: dict[UUID, str]) -> None:
    """Add the names of the task runs of `logs` to `steps`; logs contain only their ids."""
    missing = {log.task_run_id for log in logs if log.task_run_id is not None} - steps.keys()
    if missing:
        these = TaskRunFilter(id=TaskRunFilterId(any_=list(missing)))
        steps |= {task.id: task.name for task in await client.read_task_runs(task_run_filter=these)}


async def _read_logs(
    client: PrefectClient, runs: list[UUID], since: datetime | None, least: int
) -> list[Log]:
    logs: list[Log] = []
    wanted = LogFilter(
        level=LogFilterLevel(ge_=least),
        flow_run_id=LogFilterFlowRunId(any_=runs),
        timestamp=None if since is None else LogFilterTimestamp.model_validate({"after_": since}),
    )
    while True:
        page = await client.read_logs(wanted, limit=_PAGE, offset=len(logs), sort=LogSort.TIMESTAMP_ASC)
        logs += page
        if len(page) < _PAGE:
            return logs
