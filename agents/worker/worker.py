"""A worker of Prefect's for one work pool: it runs the farm's flows and nothing else, and can be drained."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar
from uuid import UUID

import anyio.abc
import httpx
from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.utilities.processutils import command_to_string
from prefect.workers.process import ProcessJobConfiguration, ProcessWorkerResult

from agents.processes import PARENT_VARIABLE
from agents.server.flow_runs import is_assigned_to
from agents.server.run_errors import error_of
from agents.worker.crash_reports import ReportingWorker
from tasks.domain.errors import TargetUnavailable
from tasks.domain.offer import CPU_POOL

LOOK_AGAIN = 76
"""How a worker ends whose toolchain is no longer what it was: a run found another TensorRT than its own."""

BEAT_SECONDS = 5.0
_POLL_SECONDS = 0.2
_LONG_AWAY = 30.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrder:
    """What a worker process is started with.

    Attributes:
        pool: the work pool that it takes runs from.
        name: how the server and people know it.
        limit: how many runs it has at a time.
        flows: where the code of each flow is that it runs, by the flow's name.
        beats: a descriptor, open for writing: a line of JSON goes there every `BEAT_SECONDS`.
    """

    pool: str
    name: str
    limit: int
    flows: Mapping[str, str]
    beats: int

    def to_json(self) -> str:
        """Return it as `read_order` reads it."""
        return json.dumps(asdict(self))


def read_order(text: str) -> WorkerOrder:
    """Return the order that `to_json` wrote."""
    return WorkerOrder(**json.loads(text))


class FlowRefused(Exception):
    """A run is not of the farm's own flows, or its deployment says what else to execute."""


class FarmJob(ProcessJobConfiguration):
    """What is executed for a run: always the farm's own code, whatever the pool or the deployment says."""

    flows: ClassVar[Mapping[str, str]] = {}
    run_environment: ClassVar[Mapping[str, str]] = {}

    def prepare_for_flow_run(  # noqa: PLR0913, PLR0917 (Prefect's)
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Set command and environment.

        Raises:
            FlowRefused: the run is of another flow, or its deployment has steps of its own.
        """
        entrypoint = self.flows.get(flow.name) if flow is not None else None
        if entrypoint is None or deployment is None or deployment.pull_steps:
            raise FlowRefused("agents run deployments of the farm's own flows only, without pull steps")
        self.command = command_to_string([sys.executable, "-P", "-m", "agents.worker.flow_process"])
        self.working_dir = None
        self.env = {
            **self.run_environment,
            "PREFECT__FLOW_ENTRYPOINT": entrypoint,
            PARENT_VARIABLE: str(os.getpid()),
        }
        super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id)


class FarmWorker(ReportingWorker):
    """Prefect's process worker with the farm's own jobs, which waits for a server that is away."""

    job_configuration = FarmJob

    def __init__(self, order: WorkerOrder) -> None:
        super().__init__(
            work_pool_name=order.pool,
            name=order.name,
            limit=order.limit,
            create_pool_if_not_found=False,
        )
        self._builds = order.pool != CPU_POOL  # there a release may name a target that nobody has
        self._draining = self._deaf = self._taking = False
        self.stale = False
        self._answered = time.monotonic()

    def drain(self) -> None:
        """Take no more runs."""
        self._draining = True

    @property
    def running(self) -> int:
        """How many runs it has."""
        return self.limiter.borrowed_tokens if self.is_setup else 0

    async def until_drained(self) -> None:
        """Return once it has no run and takes no more, or should be replaced."""
        while self.running or self._taking or not (self._draining or self._deaf):  # noqa: ASYNC110 (no event)
            await asyncio.sleep(_POLL_SECONDS)
        self._draining = True

    def beat(self) -> dict[str, float]:
        """Return how many runs it has, and how many seconds ago the server last answered."""
        return {"running": self.running, "answered": time.monotonic() - self._answered}

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Look for runs to take. A server that is away is asked again by the next call."""
        if self._draining:
            return []
        self._taking = True
        try:
            taken = await super().get_and_submit_flow_runs()
        # Workaround (Prefect 3.8.8): a worker ends after a dozen failed polls. Remove when it polls for ever.
        except httpx.HTTPError as error:
            self._logger.warning("the server does not answer: %s", type(error).__name__)
            return []
        # Workaround (Prefect 3.8.8): a poll fails if it offers a run that this worker has not quite released.
        # Remove when 3.8 is no longer supported: 3.9 leaves that run for the next poll itself.
        except RuntimeError as error:
            self._logger.info("the next look takes more: %s", error)
            return []
        finally:
            self._taking = False
        if time.monotonic() - self._answered > _LONG_AWAY:
            # Workaround (Prefect 3.8.8): after a long outage a worker no longer notices that runs are
            # cancelled, so a new worker replaces it. Remove when 3.8 is no longer supported: 3.9 reconnects,
            # as its source says.
            self._logger.warning("the server is back; this worker is replaced once it has no run")
            self._deaf = True
        self._answered = time.monotonic()
        return taken

    async def sync_with_backend(self) -> None:
        """Tell the server that this worker lives; one that is away is told by the next call."""
        # Workaround (Prefect 3.8.8): a worker ends after a dozen failed heartbeats. Remove when it retries
        # for ever.
        try:
            await super().sync_with_backend()
        except httpx.HTTPError as error:
            self._logger.warning("the server does not answer: %s", type(error).__name__)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow; see whether it found that the toolchain here has changed.

        Prefect reports a process that was killed here, and a second time after this call. By then the run may
        have been given to another agent, so what the server knows is not reported again.
        """
        # Workaround (Prefect 3.8.8): it reports a killed process twice. Remove when it reports it once.
        result = await super().run(flow_run, configuration, task_status)
        with contextlib.suppress(httpx.HTTPError):
            now = await self.client.read_flow_run(flow_run.id)
            if not is_assigned_to(now, self.name):
                result = result.model_copy(update={"status_code": 0})
            if self._builds and isinstance(error_of(now.state), TargetUnavailable):
                self.stale = True
                self.drain()
        return result


def serve(order: WorkerOrder, *, run_environment: Mapping[str, str]) -> int:
    """Take runs until SIGTERM comes and the last run has ended.

    Args:
        order: which, and how many.
        run_environment: variables of runs, beside this process' own.

    Returns:
        0, or `LOOK_AGAIN`.
    """
    FarmJob.flows, FarmJob.run_environment = order.flows, run_environment
    return asyncio.run(_serve(order))


async def _serve(order: WorkerOrder) -> int:
    worker = FarmWorker(order)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.drain)
    loop.add_signal_handler(signal.SIGINT, worker.drain)
    work = asyncio.create_task(worker.start())
    others = [asyncio.create_task(work) for work in (worker.until_drained(), _beat(worker, order.beats))]
    await asyncio.wait([work, others[0]], return_when=asyncio.FIRST_COMPLETED)
    for task in (work, *others):
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    return LOOK_AGAIN if worker.stale else 0


async def _beat(worker: FarmWorker, descriptor: int) -> None:
    while True:
        os.write(descriptor, json.dumps(worker.beat()).encode() + b"\n")
        await asyncio.sleep(BEAT_SECONDS)


def describe(beat: Mapping[str, Any]) -> str:
    """Return what a worker does, for people."""
    running = int(beat["running"])
    return f"{running} run{'' if running == 1 else 's'}" if running else "idle"
