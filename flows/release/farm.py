"""Builds on a farm: each missing cell is a run of its own, in the work pool for its target.

Only references cross between hosts: an order names digests and keys. The result of a cell is what its run
left in the store. The farm's CPU agents restart a crashed run (`agents/server/janitor.py`), which has failed
only once it has reached the crash limit. Outages of the server are waited out.
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

from agents.server.clock import server_now
from agents.server.flow_runs import PARENT_TAG, cell_run_name, cell_tags
from agents.server.janitor import crash_limit_reached
from agents.server.run_errors import why_unsuccessful
from flows.release.child_runs import RunReader, retry_while_server_is_down, wait_for_child
from flows.release.pool_watch import PoolWatch
from flows.server.step_log import log_step
from flows.settings import settings
from tasks.domain.cells import CellAnswer, Chosen, answers_to, choose
from tasks.domain.devices import unknown_devices
from tasks.domain.errors import FarmError, NotDeployed, TargetUnavailable
from tasks.domain.gpu_table import device_slug
from tasks.domain.offer import Announcement, pool_of
from tasks.domain.order import CellOutcome, EngineOrder
from tasks.domain.priority import Priority
from tasks.find import find_engine
from tasks.store.patience import retry_while_s3_is_down
from tasks.store.store import Store

_AT_ONCE = 8
_ORDER = TypeAdapter(EngineOrder)


def runs_on_farm() -> bool:
    """Return whether this flow run belongs to a deployment, so that agents build for it."""
    return runtime.deployment.id is not None


async def targets_of_farm(store: str, devices: Iterable[str]) -> Chosen:
    """Return the targets that `devices` name, among those that agents announced in the store.

    Raises:
        TargetUnavailable: no agent builds for any of them.
        FarmError: as `s3_errors`.
    """
    announced = await retry_while_s3_is_down(lambda: tuple(Store.connect(store).records(Announcement)))

    def unavailable(missing: tuple[str, ...]) -> FarmError:
        likely = "; ".join(unknown_devices(missing).values())
        return TargetUnavailable(
            wanted=f"to build for {', '.join(missing)}",
            found=f"the farm's agents build for {_announced_devices(announced)}",
            fix=likely
            or "ask for one of those, or start `enginefarm agent gpu` on a host with that GPU and "
            f"ENGINEFARM_STORE={store}",
        )

    return choose((announcement.offer for announcement in announced), devices, unavailable)


def _announced_devices(announced: tuple[Announcement, ...]) -> str:
    devices = {device_slug(target) for announcement in announced for target in announcement.offer.targets()}
    return ", ".join(sorted(devices)) or "nothing: no agent has announced itself in the store"


async def build_on_farm(
    store: str, orders: tuple[EngineOrder, ...], priority: Priority
) -> tuple[CellAnswer, ...]:
    """Return the result of each order, in the same order; a failure does not stop the others."""
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
                    log_step(f"found {outcome.key}")
                    return CellAnswer(order=order, outcome=outcome)
                async with gate:
                    submitted = await _submit(client, order, parent, priority)
                run = submitted.id
                ended = await wait_for_child(client, reader, submitted, pool_of(order.target), watch)
                built = await _outcome(order, ended)
                log_step(f"{'built' if built.built else 'found'} {built.key}")
                return CellAnswer(order=order, outcome=built, run=run)
            except FarmError as error:
                return CellAnswer(order=order, outcome=error, run=run)

        return await answers_to(orders, build_cell)


async def _submit(client: PrefectClient, order: EngineOrder, parent: str, priority: Priority) -> FlowRun:
    """Return the run of `order` for this parent: a run that is active or has completed, else a new run.

    A parent that is restarted finds the runs that it submitted before.

    Raises:
        NotDeployed: the server has no deployment that builds for the order's target.
    """
    pool, attempt = pool_of(order.target), 0

    async def ask() -> tuple[FlowRun, bool]:
        run = await arun_deployment(
            f"build-engine/{pool}",
            client=client,
            scheduled_time=await server_now(client),
            parameters={"order": _ORDER.dump_python(order, mode="json")},
            timeout=0,
            flow_run_name=cell_run_name(order),  # until it starts, it would have a random name
            tags=[f"{PARENT_TAG}:{parent}", *cell_tags(order)],
            idempotency_key=f"{order.key}:{parent}:{attempt}",
            work_queue_name=priority,
        )
        return run, await crash_limit_reached(client, run)

    while True:
        try:
            run, given_up = await retry_while_server_is_down(ask)
        except ObjectNotFound as error:
            registered = await retry_while_server_is_down(lambda: _registered(client))
            raise _not_deployed(order, registered) from error
        if run.state_type not in {StateType.FAILED, StateType.CANCELLED} and not given_up:
            return run
        attempt += 1


def _not_deployed(order: EngineOrder, registered: list[str]) -> NotDeployed:
    pool = pool_of(order.target)
    return NotDeployed(
        wanted=f"the deployment build-engine/{pool} on the Prefect server",
        found=f"agents registered {', '.join(registered) or 'nothing'}, although an agent of {pool} "
        "announced itself in the store",
        fix=f"restart the agent for {device_slug(order.target)}: it registers what it builds",
    )


async def _registered(client: PrefectClient) -> list[str]:
    """Return the pools for which the server has deployments of builds."""
    flow = FlowFilter(name=FlowFilterName(any_=["build-engine"]))
    return sorted(deployment.name for deployment in await client.read_deployments(flow_filter=flow))


async def _outcome(order: EngineOrder, run: FlowRun) -> CellOutcome:
    """Return the engine that `run` left in the store.

    Raises:
        FarmError: the error of `run`, or `RunUnsuccessful`; also as `find_engine`.
    """
    outcome = await find_engine(order, by=run.id)
    if outcome is None:
        raise why_unsuccessful(
            run,
            wanted=f"{order.key}, built by {run.name} ({run.id})",
            fix=f"`enginefarm logs {run.id}` shows what happened; `enginefarm retry {runtime.flow_run.id}` "
            "builds what is missing",
        )
    return outcome
