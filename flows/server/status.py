"""The state of the farm, read from its Prefect server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, Worker, WorkPool
from prefect.client.schemas.sorting import FlowRunSort

from agents.server.clock import server_now
from agents.server.flow_runs import FLOWS, WORKER_LABEL, all_flow_runs
from agents.server.pools import is_farm_pool, is_online
from agents.server.s3_presence import S3Presence, s3_presences, variable_of
from flows.server.queue_times import finish_times, usual
from flows.server.view import AgentView, FarmView, PoolView, RunView, S3AgentView, WaitingView
from tasks.domain.priority import Priority

_PAGE = 200
_REMEMBERED = 50
_FORGOTTEN = timedelta(days=1)
_ACTIVE = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED]
_AT_WORK = {StateType.RUNNING, StateType.CANCELLING}


async def farm_view(client: PrefectClient, *, failures: int) -> FarmView:
    """Return the current state of the farm, with its last `failures`.

    Raises:
        FarmError: as `farm_client`.
    """
    now = await server_now(client)
    pools = [pool for pool in await client.read_work_pools(limit=_PAGE) if is_farm_pool(pool.name)]
    views = await asyncio.gather(
        *(_pool_view(client, pool, now) for pool in sorted(pools, key=lambda pool: pool.name))
    )
    return FarmView(
        pools=tuple(views),
        failures=await _last_failures(client, failures),
        s3_agents=tuple(_s3_agent_view(presence, now) for presence in await s3_presences(client)),
    )


def _s3_agent_view(presence: S3Presence, now: datetime) -> S3AgentView:
    return S3AgentView(
        **asdict(presence),
        online=presence.is_online(now),
        variable=variable_of(presence.host, presence.places, presence.queue),
    )


async def _pool_view(client: PrefectClient, pool: WorkPool, now: datetime) -> PoolView:
    workers = await client.read_workers_for_work_pool(pool.name)
    of_pool: dict[str, Any] = {"work_pool_filter": _named(pool), "sort": FlowRunSort.EXPECTED_START_TIME_ASC}
    active = await all_flow_runs(client, flow_run_filter=FlowRunFilter(state=_in(*_ACTIVE)), **of_pool)
    # Not the future runs of a schedule.
    due = FlowRunFilterExpectedStartTime.model_validate({"before_": now})
    queued = FlowRunFilter(state=_in(StateType.SCHEDULED), expected_start_time=due)
    waiting = [*(run for run in active if run.state_type not in _AT_WORK)]
    waiting += await all_flow_runs(client, flow_run_filter=queued, **of_pool)
    agents = _agent_views(workers, active, now)
    durations = await _durations(client, pool)
    running = [run for run in active if run.state_type in _AT_WORK]
    return PoolView(
        name=pool.name,
        paused=pool.is_paused,
        agents=agents,
        waiting=_waiting_views(waiting, running, durations, agents, now),
    )


def _agent_views(
    workers: Iterable[Worker], active: Iterable[FlowRun], now: datetime
) -> tuple[AgentView, ...]:
    doing: dict[str, list[RunView]] = {}
    for run in active:
        doing.setdefault(str(run.labels.get(WORKER_LABEL)), []).append(_run_view(run))
    agents = []
    for worker in sorted(workers, key=lambda worker: worker.name):
        seen = worker.last_heartbeat_time
        if seen is not None and now - seen < _FORGOTTEN:
            runs = tuple(doing.get(worker.name, ()))
            agents.append(
                AgentView(name=worker.name, online=is_online(worker, now), seen=_iso(seen), runs=runs)
            )
    return tuple(agents)


def _waiting_views(
    waiting: Iterable[FlowRun],
    running: Iterable[FlowRun],
    durations: Mapping[UUID | None, float],
    agents: Iterable[AgentView],
    now: datetime,
) -> tuple[WaitingView, ...]:
    ordered = sorted(waiting, key=lambda run: (_rank(run.work_queue_name), _due(run, now)))
    expected = [durations.get(run.deployment_id) for run in ordered]
    remaining = [
        None if usually is None else usually - (now - (run.start_time or now)).total_seconds()
        for run in running
        for usually in (durations.get(run.deployment_id),)
    ]
    times = finish_times(expected, remaining, agents=sum(agent.online for agent in agents))
    return tuple(
        WaitingView(
            id=str(run.id),
            name=run.name,
            queue=run.work_queue_name or "",
            state=run.state_name or "",
            age_seconds=max(0.0, (now - _due(run, now)).total_seconds()),
            done_in_seconds=seconds,
        )
        for run, seconds in zip(ordered, times, strict=True)
    )


def _rank(queue: str | None) -> int:
    return Priority(queue).rank if queue in tuple(Priority) else len(Priority) + 1


def _due(run: FlowRun, now: datetime) -> datetime:
    return run.expected_start_time or now


async def _durations(client: PrefectClient, pool: WorkPool) -> dict[UUID | None, float]:
    """Return the usual duration of the runs of each deployment in `pool`, in seconds."""
    done = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=_in(StateType.COMPLETED)),
        work_pool_filter=_named(pool),
        sort=FlowRunSort.END_TIME_DESC,
        limit=_REMEMBERED,
    )
    taken: dict[UUID | None, list[float]] = {}
    for run in done:
        taken.setdefault(run.deployment_id, []).append(run.total_run_time.total_seconds())
    return {key: seconds for key, all_of_it in taken.items() if (seconds := usual(all_of_it)) is not None}


async def _last_failures(client: PrefectClient, most: int) -> tuple[RunView, ...]:
    runs = await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(FLOWS))),
        flow_run_filter=FlowRunFilter(state=_in(StateType.FAILED, StateType.CRASHED)),
        sort=FlowRunSort.END_TIME_DESC,
        limit=most,
    )
    return tuple(map(_run_view, runs))


def _run_view(run: FlowRun) -> RunView:
    state = run.state
    return RunView(
        id=str(run.id),
        name=run.name,
        state=run.state_name or "",
        since=_iso(state.timestamp) if state else None,
        text=(state.message or "") if state else "",
    )


def _in(*types: StateType) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))


def _named(pool: WorkPool) -> WorkPoolFilter:
    return WorkPoolFilter(name=WorkPoolFilterName(any_=[pool.name]))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
