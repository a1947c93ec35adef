"""Cleans up runs that a worker of this host had when it ended: the server does not notice by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
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
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelled, Crashed

from agents.processes import end_run
from agents.server.clock import server_now
from agents.server.flow_runs import TAKEN, WORKER_LABEL, all_flow_runs, is_assigned_to

# Workaround (Prefect 3.8.8): runs of a worker that ended stay Pending or Running on the server. Remove when
# the server gives them to another worker, or sets them to Crashed.

_LOG = logging.getLogger(__name__)
_LOST_AFTER = timedelta(seconds=90)
_UNNOTICED_AFTER = timedelta(seconds=20)  # a worker that notices a cancel has ended the run long before


async def give_up_runs(client: PrefectClient, pool: str, worker: str) -> int:
    """Set the runs that `worker` had to Crashed, or to Cancelled if they were Cancelling; return how many.

    Call it only after the worker and all its child processes have ended.
    """
    return await _set_states(
        client, await _worker_runs(client, pool, worker), Crashed(message=f"{worker} ended")
    )


async def hand_back_runs(client: PrefectClient, pool: str, worker: str) -> int:
    """Return the runs that `worker` had to the queue for other agents; see `give_up_runs`."""
    state: State[Any] = AwaitingRetry(
        message=f"handed back because {worker} was asked to stop", scheduled_time=await server_now(client)
    )
    return await _set_states(client, await _worker_runs(client, pool, worker), state)


async def sweep_runs(client: PrefectClient, pool: str, worker: str) -> None:
    """Clean up runs of `pool` that nothing else cleans up.

    If a worker was killed just after it took a run, before it could label the run, the run goes back to the
    queue. If `worker` did not notice that its run was cancelled, as happens after a long outage of the
    server, the run's process is killed.
    """
    now = await server_now(client)
    for run in await _pool_runs(client, pool, [StateType.PENDING, StateType.CANCELLING]):
        age = now - run.state.timestamp if run.state else timedelta()
        label = run.labels.get(WORKER_LABEL)
        if run.state_type is StateType.PENDING and label is None and age > _LOST_AFTER:
            why = "its worker stopped before starting it"
            await _set_states(client, [run], AwaitingRetry(message=why, scheduled_time=now))
        if run.state_type is StateType.CANCELLING and label == worker and age > _UNNOTICED_AFTER:
            if str(run.infrastructure_pid or "").isdecimal():  # whoever writes runs could write anything
                end_run(int(str(run.infrastructure_pid)), str(run.id))
            await _set_states(
                client, [run], Cancelled(message=f"cancelled by its agent because {worker} did not respond")
            )


async def _set_states(client: PrefectClient, runs: Iterable[FlowRun], state: State) -> int:
    number = 0
    for run in runs:
        ending = run.state_type is StateType.CANCELLING
        wanted = Cancelled(message=state.message) if ending else state
        _LOG.info("run %s (%s): %s → %s", run.name, run.id, run.state_name, wanted.name)
        with suppress(ObjectNotFound):  # deleted meanwhile
            await client.set_flow_run_state(run.id, wanted, force=True)
            number += 1
    return number


async def _worker_runs(client: PrefectClient, pool: str, worker: str) -> list[FlowRun]:
    return [run for run in await _pool_runs(client, pool, TAKEN) if is_assigned_to(run, worker)]


async def _pool_runs(client: PrefectClient, pool: str, states: Iterable[StateType]) -> list[FlowRun]:
    return await all_flow_runs(
        client,
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )
