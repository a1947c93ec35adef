"""Workers that share a pool do not wait for their next look when another was faster."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.states import Pending, Scheduled
from prefect.workers.process import ProcessJobConfiguration, ProcessWorkerResult

from agents.worker.pool_sharing import SharingWorker, shuffled
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("bare_server")


@flow
def waits() -> None:
    """Do nothing."""


class Beaten(SharingWorker):
    """Shown the same runs as another worker, which takes the first of them at once."""

    @classmethod
    def __dispatch_key__(cls) -> str:
        return "enginefarm-beaten"

    def __init__(self, pool: str) -> None:
        super().__init__(work_pool_name=pool, limit=1, create_pool_if_not_found=False)
        self.first: UUID | None = None
        self.took: list[UUID] = []
        self.taken = asyncio.Event()

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        shown = await super()._get_scheduled_flow_runs()
        if self.first is None:
            self.first = shown[0].flow_run.id
            await self.client.set_flow_run_state(self.first, Pending())
        return shown

    async def run(
        self, flow_run: FlowRun, configuration: ProcessJobConfiguration, task_status: object = None
    ) -> ProcessWorkerResult:
        del configuration, task_status
        self.took.append(flow_run.id)
        self.taken.set()
        return ProcessWorkerResult(status_code=0, identifier="1")


async def _take_two() -> None:
    async with get_client() as client:
        pool = f"shared-{uuid4().hex[:8]}"
        await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        number = await client.create_flow(waits)
        deployment = await client.create_deployment(number, pool, work_pool_name=pool, entrypoint="x:waits")
        runs = [
            (await client.create_flow_run_from_deployment(deployment, state=Scheduled())).id for _ in range(2)
        ]
        worker = Beaten(pool)
        async with worker:
            await worker.sync_with_backend()
            await worker.get_and_submit_flow_runs()  # the only look that it is told to take
            await asyncio.wait_for(worker.taken.wait(), PATIENCE)
        assert worker.took == [run for run in runs if run != worker.first]


def test_who_loses_a_run_takes_the_next_one_at_once() -> None:
    asyncio.run(_take_two())


def test_runs_of_other_queues_stay_behind() -> None:
    production, nightly = uuid4(), uuid4()
    shown = [
        WorkerFlowRunResponse(work_pool_id=uuid4(), work_queue_id=queue, flow_run=FlowRun(flow_id=uuid4()))
        for queue in [production] * 6 + [nightly] * 6
    ]
    orders = {tuple(run.flow_run.id for run in shuffled(shown)) for _ in range(50)}
    assert len(orders) > 1
    for order in orders:
        assert set(order[:6]) == {run.flow_run.id for run in shown[:6]}
        assert order[6:] == tuple(run.flow_run.id for run in shown[6:])
    assert shuffled([]) == []
