"""Runs that a worker of this host had when it ended: the server does not know by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingRetry, Cancelled, Crashed

WORKER_LABEL = "prefect.worker.name"
_LOG = logging.getLogger(__name__)
_PAGE = 200
_TAKEN = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_LOST_AFTER = timedelta(seconds=90)


async def give_up_runs(client: PrefectClient, pool: str, worker: str) -> int:
    """Set the runs that `worker` had to Crashed, or Cancelled where they were to be; return how many.

    Only for a worker that runs no more, nor anything that it started.
    """
    return await _set(client, await _runs_of(client, pool, worker), Crashed(message=f"{worker} ended"))


async def hand_back_runs(client: PrefectClient, pool: str, worker: str) -> int:
    """Set the runs that `worker` had so that another agent takes them; see `give_up_runs`."""
    state: State[Any] = AwaitingRetry(message=f"{worker} was told to end, and gave it back")
    return await _set(client, await _runs_of(client, pool, worker), state)


async def return_lost_runs(client: PrefectClient, pool: str) -> int:
    """Set runs of `pool` back that some worker took just before it was killed, and said nothing about."""
    now = datetime.now(UTC)
    lost = [
        run
        for run in await _runs(client, pool, [StateType.PENDING])
        if WORKER_LABEL not in run.labels and run.state and now - run.state.timestamp > _LOST_AFTER
    ]
    return await _set(client, lost, AwaitingRetry(message="the worker that took it ended"))


async def _set(client: PrefectClient, runs: Iterable[FlowRun], state: State) -> int:
    number = 0
    for run in runs:
        ending = run.state_type is StateType.CANCELLING
        wanted = Cancelled(message=state.message) if ending else state
        _LOG.info("run %s (%s): %s → %s", run.name, run.id, run.state_name, wanted.name)
        await client.set_flow_run_state(run.id, wanted, force=True)
        number += 1
    return number


async def _runs_of(client: PrefectClient, pool: str, worker: str) -> list[FlowRun]:
    return [run for run in await _runs(client, pool, _TAKEN) if run.labels.get(WORKER_LABEL) == worker]


async def _runs(client: PrefectClient, pool: str, states: list[StateType]) -> list[FlowRun]:
    found: list[FlowRun] = []
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states))),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found
