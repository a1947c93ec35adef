"""The agent: keeps a worker running in each slot of the host, and stops them when asked to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect.client.orchestration import PrefectClient

from agents.health import Health, Report
from agents.host.context import AgentContext
from agents.host.slots import WorkerSpec
from agents.host.worker_supervisor import WorkerSupervisor
from agents.processes import adopt_orphans
from agents.worker.lost_runs import sweep_runs
from tasks.children.sandbox import protection
from tasks.domain.errors import FarmError

_LOG = logging.getLogger(__name__)
_SWEEP_SECONDS = 20.0
_RENEW_SECONDS = 3600.0
_HAND_BACK_SECONDS = 20.0


@dataclass(kw_only=True)
class Agent:
    """The agent of a host.

    Attributes:
        host: what its workers share.
        flows: the entry point of each flow that workers run, by the flow's name.
        environment: environment variables of workers.
        drain_seconds: how long runs may take to finish once the agent is asked to stop.
        health: where the agent reports its health.
        background: what else the agent runs until it stops.
    """

    host: AgentContext
    flows: Mapping[str, str]
    environment: Mapping[str, str]
    drain_seconds: float
    health: Health
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    _stop_count: int = field(default=0, init=False)
    _stop_requested: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _supervisors: list[WorkerSupervisor] = field(default_factory=list, init=False)

    def stop(self) -> None:
        """Stop the agent: the first call drains its runs, the second kills them."""
        self._stop_count += 1
        self._stop_requested.set()

    async def run(self) -> bool:
        """Keep the workers running until `stop`; return whether all runs ended or were handed back.

        Raises:
            FarmError: the agent cannot start, for a reason that a person has to fix.
        """
        adopt_orphans()
        _log_sandbox()
        self._supervisors = [
            WorkerSupervisor(
                slot=slot,
                host=self.host,
                flows=self.flows,
                environment=self.environment,
                end_orphans=self._end_orphans,
            )
            for slot in self.host.first_specs
        ]
        supervising = {asyncio.create_task(worker.keep()): worker for worker in self._supervisors}
        others = [asyncio.create_task(service) for service in self._services()]
        try:
            stop = asyncio.create_task(self._wait())
            await asyncio.wait([stop, *supervising, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in (*supervising, *others):
                if task.done():
                    task.result()  # a task ends only with an error
            return await self._end(supervising)
        finally:
            for task in (*supervising, *others):
                task.cancel()
            await asyncio.gather(*supervising, *others, return_exceptions=True)
            await self._end_orphans()

    def _services(self) -> list[Coroutine[Any, Any, None]]:
        background = [start() for start in self.background]
        return [self._renew(), self._sweep(), self.health.show(self.report), *background]

    async def _wait(self) -> None:
        await self._stop_requested.wait()

    async def _end(self, supervising: Mapping[asyncio.Task[None], WorkerSupervisor]) -> bool:
        _LOG.info("stopping; runs have %.0f s to finish", self.drain_seconds)
        self._stop_requested.clear()
        for task, supervisor in supervising.items():
            if not supervisor.drain():
                task.cancel()
        if self._stop_count == 1:
            stop = asyncio.create_task(self._wait())
            drained = asyncio.create_task(_all(supervising))
            await asyncio.wait(
                [stop, drained], timeout=self.drain_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for task in (stop, drained):
                task.cancel()
        try:
            async with asyncio.timeout(_HAND_BACK_SECONDS):
                await asyncio.gather(*(supervisor.end() for supervisor in supervising.values()))
        except Exception as error:  # noqa: BLE001 (the agent stops all the same)
            _LOG.warning("the stopped runs could not be reported to the server: %r", error)
            return False
        return True

    def report(self) -> Report:
        """Return the agent's health."""
        workers = {
            supervisor.spec.worker if supervisor.spec else supervisor.slot.label: {
                "state": supervisor.state,
                **supervisor.beat,
            }
            for supervisor in self._supervisors
        }
        return Report(well=all(supervisor.well for supervisor in self._supervisors), workers=workers)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            for supervisor in self._supervisors:
                if supervisor.spec is not None and supervisor.process is not None:
                    await _try(self.host.announce(supervisor.spec))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            await self._end_orphans()
            for supervisor in self._supervisors:
                if supervisor.spec is not None and supervisor.well:
                    await _try(self._sweep_runs(supervisor.spec))

    async def _sweep_runs(self, spec: WorkerSpec) -> None:
        async def do(client: PrefectClient) -> None:
            await sweep_runs(client, spec.pool, spec.worker)

        await self.host.on_server(do)

    async def _end_orphans(self) -> None:
        await self.host.end_orphans(
            worker.process.pid for worker in self._supervisors if worker.process is not None
        )


async def _all(tasks: Iterable[asyncio.Task[None]]) -> None:
    await asyncio.wait(tuple(tasks))


async def _try(what: Awaitable[Any]) -> None:
    """Await what is retried later anyway; a failure here must not end the agent's builds.

    A proxy may return anything while its server restarts, and a run may have been deleted.
    """
    try:
        await what
    except FarmError as error:
        _LOG.warning("%s", error)
    except Exception as error:  # noqa: BLE001 (as above)
        _LOG.warning("will be retried: %s: %s", type(error).__name__, error)


def _log_sandbox() -> None:
    """Log what the kernel denies to models on this host, and what it lacks for more."""
    holds = protection()
    _LOG.log(logging.WARNING if holds.missing else logging.INFO, "sandbox: %s", holds.text)
    for each in holds.missing:
        _LOG.warning("sandbox: this host lacks %s", each)
