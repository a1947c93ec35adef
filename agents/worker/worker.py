"""A Prefect worker for one work pool that runs only the farm's flows and can be drained."""

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
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import anyio.abc
import httpx
from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.utilities.processutils import command_to_string
from prefect.workers.process import ProcessJobConfiguration, ProcessWorkerResult

from agents.processes import PARENT_VARIABLE
from agents.server.clock import SKEW, clock_skew
from agents.server.flow_runs import is_assigned_to
from agents.server.run_errors import error_of
from agents.worker.crash_reports import ReportingWorker
from tasks.domain.errors import TargetUnavailable
from tasks.domain.offer import CPU_POOL

LOOK_AGAIN = 76
"""The exit status of a worker whose toolchain was replaced: a run found another TensorRT version."""

BEAT_SECONDS = 5.0
_POLL_SECONDS = 0.2
_LONG_AWAY = 30.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrder:
    """What a worker process is started with.

    Attributes:
        pool: the work pool that it takes runs from.
        name: its name on the server.
        limit: how many runs it executes at a time.
        flows: the entry point of each flow that it runs, by the flow's name.
        beats: a descriptor, open for writing: it gets a heartbeat, a line of JSON, every `BEAT_SECONDS`.
    """

    pool: str
    name: str
    limit: int
    flows: Mapping[str, str]
    beats: int

    def to_json(self) -> str:
        """Return it as JSON for `read_order`."""
        return json.dumps(asdict(self))


def read_order(text: str) -> WorkerOrder:
    """Return the order that `to_json` wrote."""
    return WorkerOrder(**json.loads(text))


class FlowRefused(Exception):
    """A run is not of one of the farm's flows, or its deployment wants to execute something else."""


class FarmJob(ProcessJobConfiguration):
    """The job of a run: always the farm's own code, whatever the pool or the deployment says."""

    flows: ClassVar[Mapping[str, str]] = {}
    run_environment: ClassVar[Mapping[str, str]] = {}
    clock_skew: ClassVar[timedelta] = timedelta()

    def prepare_for_flow_run(  # noqa: PLR0913, PLR0917 (Prefect's)
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Set the command and the environment.

        Raises:
            FlowRefused: the run is of another flow, or its deployment has pull steps.
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
        if self.clock_skew:
            self.env[SKEW] = str(self.clock_skew.total_seconds())
        super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id)


class FarmWorker(ReportingWorker):
    """Prefect's process worker with the farm's own jobs. It survives outages of the server."""

    job_configuration = FarmJob

    def __init__(self, order: WorkerOrder) -> None:
        super().__init__(
            work_pool_name=order.pool,
            name=order.name,
            limit=order.limit,
            create_pool_if_not_found=False,
        )
        self._builds = order.pool != CPU_POOL  # in that pool, a release may name a target that no agent has
        self._lead = self._prefetch_seconds
        self._draining = self._deaf = self._taking = False
        self.stale = False
        self._answered = time.monotonic()

    def drain(self) -> None:
        """Take no more runs."""
        self._draining = True

    @property
    def running(self) -> int:
        """How many runs it is executing."""
        return self.limiter.borrowed_tokens if self.is_setup else 0

    async def until_drained(self) -> None:
        """Return once it has no runs and is draining or must be replaced."""
        while self.running or self._taking or not (self._draining or self._deaf):  # noqa: ASYNC110 (no event)
            await asyncio.sleep(_POLL_SECONDS)
        self._draining = True

    def beat(self) -> dict[str, float]:
        """Return a heartbeat: how many runs it has, and how many seconds ago the server last answered."""
        return {"running": self.running, "answered": time.monotonic() - self._answered}

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Poll for runs. If the server is down, the next poll retries."""
        if self._draining:
            return []
        self._taking = True
        try:
            taken = await super().get_and_submit_flow_runs()
        # Workaround (Prefect 3.8.8): a worker ends after a dozen failed polls. Remove when it polls forever.
        except httpx.HTTPError as error:
            self._logger.warning("the server does not answer: %s", type(error).__name__)
            return []
        # Workaround (Prefect 3.8.8): a poll fails if it offers a run that this worker has not quite released.
        # Remove when 3.8 is no longer supported: 3.9 leaves that run for the next poll itself.
        except RuntimeError as error:
            self._logger.info("left for the next poll: %s", error)
            return []
        finally:
            self._taking = False
        if time.monotonic() - self._answered > _LONG_AWAY:
            # Workaround (Prefect 3.8.8): after a long outage a worker no longer notices that runs are
            # cancelled, so a new worker replaces it. Remove when 3.8 is no longer supported: 3.9 reconnects,
            # as its source says.
            self._logger.warning("the server is back; this worker is replaced once it has no runs")
            self._deaf = True
        self._answered = time.monotonic()
        return taken

    async def sync_with_backend(self) -> None:
        """Send a heartbeat to the server, and compare clocks. If it is down, the next heartbeat retries."""
        # Workaround (Prefect 3.8.8): a worker ends after a dozen failed heartbeats. Remove when it retries
        # forever.
        try:
            await super().sync_with_backend()
            FarmJob.clock_skew = await clock_skew(self.client)
        except httpx.HTTPError as error:
            self._logger.warning("the server does not answer: %s", type(error).__name__)
        # Workaround (Prefect 3.8.8): a worker asks for runs that are due by its host's clock. Remove when the
        # server's clock counts.
        self._prefetch_seconds = self._lead + FarmJob.clock_skew.total_seconds()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow; drain if it reports that the toolchain here has changed.

        Prefect reports a killed process in this call, and again after it. By then another agent may have the
        run, so the second report is suppressed once the server has the first.
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
    """Take runs until SIGTERM, and return once the last run has ended.

    Args:
        order: the worker's order.
        run_environment: variables of runs, beside this process's own.

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
    """Return what a worker is doing, for people."""
    running = int(beat["running"])
    return f"{running} run{'' if running == 1 else 's'}" if running else "idle"
