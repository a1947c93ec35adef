"""Builds on a farm: each missing cell is a run of its own, in the work pool of agents with its target.

Only references cross: an order names digests and keys. What came of a cell is what the store holds once its
run has completed. A run that crashed is started again by the farm's CPU agents (`agents/janitor.py`): it has
failed only once it has crashed too often.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import replace

import httpx
from prefect import runtime
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from pydantic import TypeAdapter

from agents.flow_runs import PARENT_TAG
from agents.janitor import MOST_RUNS
from flows.build_engine import find_engine
from flows.farm_runs import is_final
from tasks.domain.errors import TargetUnavailable
from tasks.domain.farm_errors import NotDeployed, RunUnsuccessful
from tasks.domain.gpu_table import device_slug
from tasks.domain.offer import Announcement, pool_of, select
from tasks.domain.order import CellOutcome, EngineOrder
from tasks.domain.priority import Priority
from tasks.domain.target import EngineTarget
from tasks.store.announcements import announcements
from tasks.store.store import Store

_POLL_SECONDS = 1.0
_REVIVAL_SECONDS = 180.0
_AT_ONCE = 8
_ORDER = TypeAdapter(EngineOrder)
_FOR_NOW = (httpx.TransportError, PrefectHTTPStatusError)
_LOG = logging.getLogger(__name__)


def runs_on_farm() -> bool:
    """Say whether this flow run came from a deployment, so that agents build for it."""
    return runtime.deployment.id is not None


async def targets_of_farm(store: str, devices: Iterable[str]) -> tuple[EngineTarget, ...]:
    """Return the targets that `devices` name, among what agents announced in the store.

    Raises:
        TargetUnavailable: a device that no agent builds for.
        FarmError: as `s3_errors`.
    """
    found = await asyncio.to_thread(lambda: tuple(announcements(Store.connect(store))))
    targets, missing = select((one.offer for one in found), devices)
    if missing:
        raise TargetUnavailable(
            wanted=f"to build for {', '.join(missing)}",
            found=f"the farm's agents build for {_devices(found)}",
            fix="ask for one of those, or start `enginefarm agent gpu` on a host with that GPU and "
            f"ENGINEFARM_STORE={store}",
        )
    return targets


def _devices(found: tuple[Announcement, ...]) -> str:
    devices = {device_slug(target) for one in found for target in one.offer.targets()}
    return ", ".join(sorted(devices)) or "nothing: none has announced itself in the store"


async def build_on_farm(
    orders: tuple[EngineOrder, ...], priority: Priority
) -> list[CellOutcome | BaseException]:
    """Return what came of each order, in their order; one that fails stops no other."""
    gate = asyncio.Semaphore(_AT_ONCE)
    parent = str(runtime.flow_run.id)
    async with get_client() as client:

        async def one(order: EngineOrder) -> CellOutcome:
            found = await find_engine(order)
            if found is not None:
                return found
            async with gate:
                run = await _submit(client, order, parent, priority)
            return await _outcome(order, await _wait(client, run))

        return await asyncio.gather(*map(one, orders), return_exceptions=True)


async def _submit(client: PrefectClient, order: EngineOrder, parent: str, priority: Priority) -> FlowRun:
    """Return the run of `order` for this parent: one that goes on or has completed, else a new one.

    A parent that is started again finds the runs that it asked for before.
    """
    pool, attempt = pool_of(order.target), 0
    while True:
        try:
            run = await arun_deployment(
                f"build-engine/{pool}",
                client=client,
                parameters={"order": _ORDER.dump_python(order, mode="json")},
                timeout=0,
                tags=[f"{PARENT_TAG}:{parent}", *_tags(order)],
                idempotency_key=f"{order.key}:{parent}:{attempt}",
                work_queue_name=priority,
            )
        except ObjectNotFound as error:
            raise NotDeployed(
                wanted=f"the deployment build-engine/{pool} on the Prefect server",
                found="none, though an agent once announced that it builds there",
                fix=f"start the agent of {device_slug(order.target)} again: it registers what it builds",
            ) from error
        if run.state_type not in {StateType.FAILED, StateType.CANCELLED} and not _gave_up(run):
            return run
        attempt += 1


def _tags(order: EngineOrder) -> tuple[str, ...]:
    ref = order.release.ref
    return (f"model:{ref.model}", f"version:{ref.version}", f"gpu:{device_slug(order.target)}")


def _gave_up(run: FlowRun) -> bool:
    return run.state_type is StateType.CRASHED and run.run_count >= MOST_RUNS


async def _wait(client: PrefectClient, run: FlowRun) -> FlowRun:
    """Return `run` once it is over; a server that is away only takes time."""
    crashed: float | None = None
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        try:
            run = await client.read_flow_run(run.id)
        except _FOR_NOW as error:
            _LOG.warning("the Prefect server does not answer: %s", type(error).__name__)
            continue
        if run.state_type is not StateType.CRASHED:
            crashed = None
        elif crashed is None:
            crashed = time.monotonic()
        lost = crashed is not None and time.monotonic() - crashed > _REVIVAL_SECONDS
        ended = is_final(run) and run.state_type is not StateType.CRASHED
        if ended or lost or _gave_up(run):
            return run


async def _outcome(order: EngineOrder, run: FlowRun) -> CellOutcome:
    """Return the engine that `run` left in the store.

    Raises:
        RunUnsuccessful: it left none.
        FarmError: as `find_engine`.
    """
    found = await find_engine(order)
    if found is None:
        text = (run.state.message if run.state else None) or "no reason was given"
        raise RunUnsuccessful(
            wanted=f"{run.name} ({run.id}) to build {order.key}",
            found=f"{run.state_name}: {text}",
            fix=f"`enginefarm logs {run.id}` shows what happened; `enginefarm retry {runtime.flow_run.id}` "
            "asks again for what is missing",
        )
    return replace(found, built=True)
