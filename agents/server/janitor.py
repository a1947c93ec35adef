"""Cleans up on Prefect's server: cancels children whose parent has ended, and restarts crashed runs.

Every CPU agent does so every few seconds; doing it twice at once is harmless. Prefect itself cancels the
children of a cancelled run half a minute later, and never restarts a crashed run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry

from agents.server.clock import server_now
from agents.server.flow_runs import FLOWS, PARENT_TAG, all_flow_runs, cancel_of, detached_tag
from tasks.domain.errors import FarmError

# Workaround (Prefect 3.8.8): the server cancels the children of a cancelled run half a minute later, those of
# a failed run never, and it never restarts a crashed run. Remove the cancelling when the server cancels both
# within seconds, and the restarts when a deployment can ask for them.

MAX_CRASHES = 3
"""A run that has crashed this often is not restarted."""

_EVERY_SECONDS = 3.0
_SLOWER = 10.0  # after a slow sweep, the pause is this many times as long as the sweep took
_REVIVED_FOR = timedelta(days=1)
_PAGE = 200
_ALIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]
_NOTHING: Mapping[UUID, bool] = MappingProxyType({})
_ENDS_CHILDREN = {StateType.CANCELLED, StateType.CANCELLING, StateType.FAILED}
_LOG = logging.getLogger(__name__)

OnServer = Callable[[Callable[[PrefectClient], Awaitable[Any]]], Awaitable[Any]]
"""Calls a function with a client of the farm's server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one sweep did.

    Attributes:
        cancelled: the runs that it cancelled.
        revived: the runs that it restarted.
        crashes: the ids of the crashed states that it saw, and whether each run has reached the crash limit.
    """

    cancelled: tuple[UUID, ...]
    revived: tuple[UUID, ...]
    crashes: Mapping[UUID, bool] = field(default_factory=dict, compare=False)


async def run_janitor(on_server: OnServer) -> None:
    """Sweep until cancelled. An outage of the server only delays it; a slow server is polled less often."""
    crashes: Mapping[UUID, bool] = {}
    while True:
        started = time.monotonic()
        try:
            crashes = (await on_server(partial(sweep, previous=crashes))).crashes
        except FarmError as error:
            _LOG.warning("%s", error)
        except Exception:  # noqa: BLE001 (an unexpected state of a run must not end an agent's builds)
            _LOG.exception("the farm's runs could not be cleaned up")
        await asyncio.sleep(max(_EVERY_SECONDS, _SLOWER * (time.monotonic() - started)))


async def sweep(client: PrefectClient, *, previous: Mapping[UUID, bool] = _NOTHING) -> Swept:
    """Cancel children whose parent was deleted or has not completed; restart crashed runs.

    A crashed build is restarted only while its parent waits for it, or if a person restarted the build after
    its parent had ended.

    Args:
        client: of the farm's server.
        previous: `crashes` of the previous sweep; their states are not read again.
    """
    now = await server_now(client)
    due = FlowRunFilterExpectedStartTime.model_validate({"before_": now})  # not future runs of a schedule
    alive = [run for run in await _farm_runs(client, _ALIVE, expected_start_time=due) if parent_of(run)]
    young = FlowRunFilterEndTime.model_validate({"after_": now - _REVIVED_FOR})
    crashed = await _farm_runs(client, [StateType.CRASHED], end_time=young)
    parents = await _by_id(client, {parent_of(run) for run in (*alive, *crashed)} - {None})
    crashes = await _crashes(client, (*crashed, *parents.values()), previous)
    fate = _Fate(parents=parents, crashes=crashes, now=now)
    cancelled, revived = [], []
    for run in alive:
        if fate.is_wanted(run) is False:
            cancelled += await _set_state(client, run, cancel_of(run, "Its parent ended."))
    for run in crashed:
        if fate.is_wanted(run) and fate.will_restart(run):
            message = f"It crashed: {run.state and run.state.message}"
            revived += await _set_state(client, run, AwaitingRetry(message=message, scheduled_time=now))
    return Swept(cancelled=tuple(cancelled), revived=tuple(revived), crashes=crashes)


def parent_of(run: FlowRun) -> UUID | None:
    """Return the id of the run that submitted `run`; None if no run did."""
    for tag in run.tags:
        name, _, value = tag.partition(":")
        if name == PARENT_TAG:
            with suppress(ValueError):  # a tag that a person wrote
                return UUID(value)
    return None


async def will_restart(client: PrefectClient, run: FlowRun) -> bool:
    """Return whether `run` crashed and will be restarted, if its parent still waits for it."""
    if run.state_type is not StateType.CRASHED:
        return False
    now = await server_now(client)
    return _is_young_crash(run, now) and not await _reached_crash_limit(client, run)


async def crash_limit_reached(client: PrefectClient, run: FlowRun) -> bool:
    """Return whether `run` has crashed so often that it is not restarted.

    Its run count does not say so: it is 0 for a run that crashed before it began, and too high for a run that
    an agent handed back.
    """
    if run.state_type is not StateType.CRASHED:
        return False
    states = await client.read_flow_run_states(run.id)
    return sum(state.type is StateType.CRASHED for state in states) >= MAX_CRASHES


async def _crashes(
    client: PrefectClient, runs: Iterable[FlowRun], previous: Mapping[UUID, bool]
) -> dict[UUID, bool]:
    """Return for each crashed state whether its run has reached the limit; read what `previous` lacks."""
    limit_reached: dict[UUID, bool] = {}
    for run in runs:
        state = run.state_id
        if run.state_type is StateType.CRASHED and state is not None and state not in limit_reached:
            spent = previous.get(state)
            limit_reached[state] = await _reached_crash_limit(client, run) if spent is None else spent
    return limit_reached


async def _reached_crash_limit(client: PrefectClient, run: FlowRun) -> bool:
    try:
        return await crash_limit_reached(client, run)
    except ObjectNotFound:  # deleted meanwhile
        return True


def _is_young_crash(run: FlowRun, now: datetime) -> bool:
    if run.deployment_id is None or run.state is None or run.state_type is not StateType.CRASHED:
        return False
    return now - run.state.timestamp < _REVIVED_FOR


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fate:
    """Decides what becomes of runs.

    Attributes:
        parents: the runs that submitted others.
        crashes: as in `Swept`.
        now: the server's time.
    """

    parents: Mapping[UUID, FlowRun]
    crashes: Mapping[UUID, bool]
    now: datetime

    def will_restart(self, run: FlowRun) -> bool:
        """Return whether a crashed run will be restarted."""
        may = run.state is not None and not self.crashes.get(run.state.id, True)
        return may and _is_young_crash(run, self.now)

    def is_wanted(self, run: FlowRun) -> bool | None:
        """Return whether `run` is still wanted; None as in `_waits`."""
        parent = parent_of(run)
        if parent is None or detached_tag(self.parents.get(parent)) in run.tags:
            return True
        return self._waits(self.parents.get(parent))

    def _waits(self, parent: FlowRun | None) -> bool | None:
        """Return whether `parent` waits for its children, or will once restarted; None if it has completed.

        A parent that was deleted waits for nothing.
        """
        if parent is None or parent.state_type in _ENDS_CHILDREN:
            return False
        if parent.state_type is StateType.CRASHED:
            return self.will_restart(parent)
        return None if parent.state_type is StateType.COMPLETED else True


async def _by_id(client: PrefectClient, wanted: Iterable[UUID | None]) -> dict[UUID, FlowRun]:
    ids = [number for number in wanted if number is not None]
    runs: dict[UUID, FlowRun] = {}
    for start in range(0, len(ids), _PAGE):
        some = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + _PAGE]))
        runs |= {run.id: run for run in await client.read_flow_runs(flow_run_filter=some, limit=_PAGE)}
    return runs


async def _farm_runs(client: PrefectClient, states: list[StateType], **more: Any) -> list[FlowRun]:
    """Return the runs of the farm's flows in `states`; the next sweep sees what changes meanwhile."""
    waiting = await all_flow_runs(
        client,
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(FLOWS))),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)), **more
        ),
    )
    return list({run.id: run for run in waiting}.values())


async def _set_state(client: PrefectClient, run: FlowRun, state: State[Any]) -> list[UUID]:
    """Set the state of `run`, unless its state has changed meanwhile; return the id if it was set."""
    with suppress(ObjectNotFound):
        now = await client.read_flow_run(run.id)
        if now.state_type is not run.state_type:
            return []
        _LOG.info("run %s (%s): %s → %s", run.name, run.id, run.state_name, state.name)
        await client.set_flow_run_state(run.id, state, force=state.type is StateType.SCHEDULED)
        return [run.id]
    return []
