"""Puts right on Prefect's server what nobody else does: children of parents that ended, runs that crashed.

Every CPU agent does it, every few seconds; where two do it at once, that changes nothing. Prefect itself
tells the children of a cancelled run half a minute later, and never starts a crashed run again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import AwaitingRetry

from agents.flow_runs import FLOWS, PARENT_TAG
from tasks.domain.errors import FarmError

MOST_RUNS = 3
"""How often a run is started before its crash is its end."""

_EVERY_SECONDS = 3.0
_REVIVED_FOR = timedelta(days=1)
_PAGE = 200
_ALIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]
_ENDS_CHILDREN = {StateType.CANCELLED, StateType.CANCELLING, StateType.FAILED}
_LOG = logging.getLogger(__name__)

OnServer = Callable[[Callable[[PrefectClient], Awaitable[Any]]], Awaitable[Any]]
"""Calls what it is given with a client of the farm's server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one pass did: runs that it cancelled, and runs that it had started again."""

    cancelled: tuple[UUID, ...]
    revived: tuple[UUID, ...]


async def keep_house(on_server: OnServer) -> None:
    """Sweep until cancelled; a server that is away only delays it."""
    while True:
        try:
            await on_server(sweep)
        except FarmError as error:
            _LOG.warning("%s", error)
        await asyncio.sleep(_EVERY_SECONDS)


async def sweep(client: PrefectClient) -> Swept:
    """Cancel children whose parent ended otherwise than completed, and have crashed runs started again.

    A crash of a build is looked at by its parent's state: nobody waits for a build whose parent has ended.
    """
    alive = [run for run in await _runs(client, _ALIVE) if parent_of(run) is not None]
    crashed = [run for run in await _runs(client, [StateType.CRASHED]) if await _may_run_again(client, run)]
    parents = await _by_id(client, {parent_of(run) for run in (*alive, *crashed)} - {None})
    cancelled = [run for run in alive if _state_of_parent(run, parents) in _ENDS_CHILDREN]
    revived = [run for run in crashed if parent_of(run) is None or _is_active(run, parents)]
    for run in cancelled:
        state: State[Any] = State(type=StateType.CANCELLING, message="Its parent ended.")
        await _set(client, run, state)
    for run in revived:
        await _set(client, run, AwaitingRetry(message=f"It crashed: {run.state and run.state.message}"))
    return Swept(cancelled=tuple(run.id for run in cancelled), revived=tuple(run.id for run in revived))


def parent_of(run: FlowRun) -> UUID | None:
    """Return the run that asked for `run`; None where none did."""
    for tag in run.tags:
        name, _, value = tag.partition(":")
        if name == PARENT_TAG:
            return UUID(value)
    return None


async def _may_run_again(client: PrefectClient, run: FlowRun) -> bool:
    """Say whether a crashed run is of the farm, young, and has not crashed too often.

    Its number of runs does not tell: a run that crashes before it begins has none.
    """
    if run.deployment_id is None or run.state is None:
        return False
    if datetime.now(UTC) - run.state.timestamp > _REVIVED_FOR:
        return False
    states = await client.read_flow_run_states(run.id)
    return sum(state.type is StateType.CRASHED for state in states) < MOST_RUNS


def _state_of_parent(run: FlowRun, parents: dict[UUID, FlowRun]) -> StateType | None:
    parent = parents.get(parent_of(run) or run.id)
    return None if parent is None else parent.state_type


def _is_active(run: FlowRun, parents: dict[UUID, FlowRun]) -> bool:
    """Say whether the parent of `run` still waits for it, or will once it is started again itself."""
    return _state_of_parent(run, parents) in {*_ALIVE, StateType.CRASHED}


async def _by_id(client: PrefectClient, wanted: Iterable[UUID | None]) -> dict[UUID, FlowRun]:
    ids = [one for one in wanted if one is not None]
    found: dict[UUID, FlowRun] = {}
    for start in range(0, len(ids), _PAGE):
        some = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + _PAGE]))
        found |= {run.id: run for run in await client.read_flow_runs(flow_run_filter=some, limit=_PAGE)}
    return found


async def _runs(client: PrefectClient, states: list[StateType]) -> list[FlowRun]:
    """Return the newest runs of the farm's flows in `states`."""
    return await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(FLOWS))),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states))),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=_PAGE,
    )


async def _set(client: PrefectClient, run: FlowRun, state: State[Any]) -> None:
    _LOG.info("run %s (%s): %s → %s", run.name, run.id, run.state_name, state.name)
    await client.set_flow_run_state(run.id, state, force=state.type is StateType.SCHEDULED)
