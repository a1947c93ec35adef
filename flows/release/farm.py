"""Builds on a farm: each missing cell is a run of its own, in the work pool of agents with its target.

Only references cross: an order names digests and keys. What came of a cell is what the store holds once its
run has completed. The farm's CPU agents restart a run that crashed (`agents/server/janitor.py`): it has
failed only once it has crashed too often. A server that is away only takes time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from pydantic import TypeAdapter

from agents.server.flow_runs import PARENT_TAG, cell_run_name, cell_tags
from agents.server.janitor import crash_limit_reached
from agents.server.run_errors import why_unsuccessful
from flows.release.child_runs import RunReader, retry_while_server_is_down, wait_for_child
from flows.release.pool_watch import PoolWatch
from flows.settings import settings
from tasks.domain.cells import CellAnswer, answers_to
from tasks.domain.errors import FarmError, NotDeployed, TargetUnavailable
from tasks.domain.gpu_table import device_slug
from tasks.domain.offer import Announcement, pool_of, select
from tasks.domain.order import CellOutcome, EngineOrder
from tasks.domain.priority import Priority
from tasks.domain.target import EngineTarget
from tasks.find import find_engine
from tasks.store.patience import retry_while_s3_is_down
from tasks.store.store import Store

_AT_ONCE = 8
_ORDER = TypeAdapter(EngineOrder)


def runs_on_farm() -> bool:
    """Say whether this flow run came from a deployment, so that agents build for it."""
    return runtime.deployment.id is not None


async def targets_of_farm(store: str, devices: Iterable[str]) -> tuple[EngineTarget, ...]:
    """Return the targets that `devices` name, among what agents announced in the store.

    Raises:
        TargetUnavailable: a device that no agent builds for.
        FarmError: as `s3_errors`.
    """
    announced = await retry_while_s3_is_down(lambda: tuple(Store.connect(store).records(Announcement)))
    targets, missing = select((announcement.offer for announcement in announced), devices)
    if missing:
        raise TargetUnavailable(
            wanted=f"to build for {', '.join(missing)}",
            found=f"the farm's agents build for {_devices(announced)}",
            fix="ask for one of those, or start `enginefarm agent gpu` on a host with that GPU and "
            f"ENGINEFARM_STORE={store}",
        )
    return targets


def _devices(announced: tuple[Announcement, ...]) -> str:
    devices = {device_slug(target) for announcement in announced for target in announcement.offer.targets()}
    return ", ".join(sorted(devices)) or "nothing: none has announced itself in the store"


async def build_on_farm(
    store: str, orders: tuple[EngineOrder, ...], priority: Priority
) -> tuple[CellAnswer, ...]:
    """Return what came of each order, in their order; one that fails stops no other."""
    gate = asyncio.Semaphore(_AT_ONCE)
    parent = str(runtime.flow_run.id)
    async with get_client() as client:
        reader = RunReader(client)
        watch = PoolWatch(client=client, store=store, patience=settings().agent_wait_seconds)

        async def build_cell(order: EngineOrder) -> CellAnswer:
            run: UUID | None = None
            try:
                outcome = await find_engine(order)
                if outcome is not None:
                    return CellAnswer(order=order, outcome=outcome)
                async with gate:
                    submitted = await _submit(client, order, parent, priority)
                run = submitted.id
                ended = await wait_for_child(client, reader, submitted, pool_of(order.target), watch)
                built = await _outcome(order, ended)
                return CellAnswer(order=order, outcome=built, run=run)
            except FarmError as error:
                return CellAnswer(order=order, outcome=error, run=run)

        return await answers_to(orders, build_cell)


async def _submit(client: PrefectClient, order: EngineOrder, parent: str, priority: Priority) -> FlowRun:
    """Return the run of `order` for this parent: one that goes on or has completed, else a new one.

    A parent that is started again finds the runs that it asked for before.

    Raises:
        NotDeployed: the server knows no deployment that builds for the order's target.
    """
    pool, attempt = pool_of(order.target), 0

    async def ask() -> tuple[FlowRun, bool]:
        run = await arun_deployment(
            f"build-engine/{pool}",
            client=client,
            parameters={"order": _ORDER.dump_python(order, mode="json")},
            timeout=0,
            flow_run_name=cell_run_name(order),  # until it starts it would have a random name of Prefect's
            tags=[f"{PARENT_TAG}:{parent}", *cell_tags(order)],
            idempotency_key=f"{order.key}:{parent}:{attempt}",
            work_queue_name=priority,
        )
        return run, await crash_limit_reached(client, run)

    while True:
        try:
            run, given_up = await retry_while_server_is_down(ask)
        except ObjectNotFound as error:
            there = await retry_while_server_is_down(lambda: _registered(client))
            raise NotDeployed(
                wanted=f"the deployment build-engine/{pool} on the Prefect server",
                found=f"agents registered {', '.join(there) or 'nothing'}, though the store says that one "
                f"of {pool} was there",
                fix=f"start the agent of {device_slug(order.target)} again: it registers what it builds",
            ) from error
        if run.state_type not in {StateType.FAILED, StateType.CANCELLED} and not given_up:
            return run
        attempt += 1


async def _registered(client: PrefectClient) -> list[str]:
    """Return the pools that the server knows builds of."""
    flow = FlowFilter(name=FlowFilterName(any_=["build-engine"]))
    return sorted(deployment.name for deployment in await client.read_deployments(flow_filter=flow))


async def _outcome(order: EngineOrder, run: FlowRun) -> CellOutcome:
    """Return the engine that `run` left in the store.

    Raises:
        FarmError: the one that `run` failed with, or `RunUnsuccessful`; also as `find_engine`.
    """
    outcome = await find_engine(order, by=run.id)
    if outcome is None:
        raise why_unsuccessful(
            run,
            wanted=f"{run.name} ({run.id}) to build {order.key}",
            fix=f"`enginefarm logs {run.id}` shows what happened; `enginefarm retry {runtime.flow_run.id}` "
            "asks again for what is missing",
        )
    return outcome
