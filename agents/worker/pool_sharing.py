"""Workers that share a work pool: a worker that loses a run to another polls again at once.

All workers of a pool are offered the same runs, and the server gives each run to one worker. Prefect's own
workers all ask for the first run, and all but one of them wait for their next poll.
"""

from __future__ import annotations

import asyncio
import random

from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.workers.process import ProcessWorker

_RETRY_SECONDS = (0.1, 0.6)


# Workaround (Prefect 3.8.8): idle workers of one pool all ask for the same run, and all but one wait for
# their next poll. Remove when the server hands different runs to different workers.
class SharingWorker(ProcessWorker):
    """Takes the first waiting run; after it lost a run to another worker, a random run of the same queue."""

    _lost = False

    @classmethod
    def __dispatch_key__(cls) -> str:
        return f"enginefarm-{cls.__name__}"  # must not replace Prefect's own class

    async def _submit_scheduled_flow_runs(
        self, flow_run_response: list[WorkerFlowRunResponse]
    ) -> list[FlowRun]:
        shown = shuffled(flow_run_response) if self._lost else flow_run_response
        return await super()._submit_scheduled_flow_runs(shown)

    async def _propose_pending_state(self, flow_run: FlowRun) -> bool:
        self._lost = not await super()._propose_pending_state(flow_run)
        return not self._lost

    async def _submit_run(self, flow_run: FlowRun) -> None:
        await super()._submit_run(flow_run)
        if self._lost:
            await asyncio.sleep(random.uniform(*_RETRY_SECONDS))  # noqa: S311
            await self.get_and_submit_flow_runs()


def shuffled(runs: list[WorkerFlowRunResponse]) -> list[WorkerFlowRunResponse]:
    """Return `runs` with those of the first run's queue in random order, before all others."""
    first = [run for run in runs if run.work_queue_id == runs[0].work_queue_id]
    random.shuffle(first)
    return first + [run for run in runs if run.work_queue_id != runs[0].work_queue_id]
