"""Keeps the worker of one slot running: starts it, restarts it with backoff when it ends, and stops it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from agents.host.context import AgentContext
from agents.host.slots import WorkerSlot, WorkerSpec
from agents.processes import PARENT_VARIABLE
from agents.worker.lost_runs import give_up_runs, hand_back_runs
from agents.worker.worker import BEAT_SECONDS, LOOK_AGAIN, WorkerOrder, describe
from tasks.domain.backoff import Backoff
from tasks.domain.errors import FarmError

_LOG = logging.getLogger(__name__)
_BACKOFF = Backoff(first=1.0, longest=60.0, reset_after=60.0)
_SILENT_SECONDS = 12 * BEAT_SECONDS
_START_SECONDS = 120.0
_LISTEN_SECONDS = 0.5
_FOR_NOW = (FarmError, httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound, OSError)


@dataclass(kw_only=True)
class WorkerSupervisor:
    """Supervises the worker of one slot.

    Attributes:
        slot: the slot.
        host: what the supervisors share.
        flows: the entry point of each flow that workers run, by the flow's name.
        environment: environment variables of workers.
        end_orphans: kills what workers that ended have left running.
        spec: the worker of the slot, once it is known.
        process: the worker's process, until it and its children have ended.
        state: the current state, for people.
    """

    slot: WorkerSlot
    host: AgentContext
    flows: Mapping[str, str]
    environment: Mapping[str, str]
    end_orphans: Callable[[], Awaitable[None]]
    spec: WorkerSpec | None = None
    process: Process | None = None
    state: str = "starts"
    _beat: tuple[float, dict[str, Any]] | None = field(default=None, init=False)
    _ending: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _gone: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def keep(self) -> None:
        """Keep the worker running until `drain` or `end` is called.

        Raises:
            FarmError: the first start failed for a reason that a person has to fix.
        """
        pauses, probe_again = iter(_BACKOFF), False
        while not self._ending.is_set():
            started = time.monotonic()
            try:
                await self._serve(await self._take(probe_again=probe_again))
            except _FOR_NOW as error:
                if self.spec is None and isinstance(error, FarmError) and not error.retryable:
                    raise
                self.state = f"waits: {error}"
                _LOG.warning("%s: %s", self.slot.label, error)
            probe_again = True
            pauses.attempt_lasted(time.monotonic() - started)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), next(pauses))

    async def _take(self, *, probe_again: bool) -> WorkerSpec:
        """Return the worker for this slot, with its pool, deployments and announcement in place."""
        before = self.spec
        if before is not None:
            await self._give_up(before)
        spec = await self.host.find(self.slot, probe_again=probe_again)
        await self.host.prepare(spec, before=before)
        if before is None or before.worker != spec.worker:
            # A worker of this name may have run before a power failure, or before the agent was killed.
            await self._give_up(spec)
        self.spec = spec
        return spec

    async def _give_up(self, spec: WorkerSpec) -> None:
        await self.host.on_server(lambda client: give_up_runs(client, spec.pool, spec.worker))

    async def _serve(self, spec: WorkerSpec) -> None:
        """Run a worker to its end; none of its processes is left afterwards."""
        reading, writing = os.pipe()
        try:
            process = await self._start(spec, writing)
            listening = asyncio.create_task(self._listen(reading, process))
            status = await process.wait()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        finally:
            os.close(reading)
            os.close(writing)
            self._signal(signal.SIGKILL)
            self._beat = None
        await self.end_orphans()
        self.process = None
        self._gone.set()
        self.state = f"its worker ended with status {status}"
        reason = "its toolchain has changed" if status == LOOK_AGAIN else self.state
        _LOG.log(logging.INFO if self._ending.is_set() else logging.WARNING, "%s: %s", spec.worker, reason)

    async def _start(self, spec: WorkerSpec, beats: int) -> Process:
        order = WorkerOrder(
            pool=spec.pool, name=spec.worker, limit=spec.slot.limit, flows=self.flows, beats=beats
        )
        environment = {**self.environment, **spec.environment, PARENT_VARIABLE: str(os.getpid())}
        async with self.host.forking:
            self._gone.clear()
            self.process = await create_subprocess_exec(
                sys.executable, "-P", "-m", "agents.worker.main", order.to_json(),
                env=environment, pass_fds=(beats,), stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C goes to the agent alone, which then stops its workers
            )  # fmt: skip
        self.state = "starts"
        _LOG.info("%s: started as process %d", spec.worker, self.process.pid)
        return self.process

    async def _listen(self, reading: int, process: Process) -> None:
        """Record the worker's heartbeats; kill the worker if they stop."""
        os.set_blocking(reading, False)
        last = time.monotonic() + _START_SECONDS - _SILENT_SECONDS
        while time.monotonic() - last < _SILENT_SECONDS:
            await asyncio.sleep(_LISTEN_SECONDS)
            with contextlib.suppress(BlockingIOError):
                beat = json.loads(os.read(reading, 1 << 16).splitlines()[-1])
                last = time.monotonic()
                self._beat = last, beat
                self.state = "drains" if self._ending.is_set() else describe(beat)
        _LOG.error("%s: the worker is stuck (no heartbeat); killing it", self.slot.label)
        process.kill()

    @property
    def well(self) -> bool:
        """Whether the worker is alive: its last heartbeat is recent."""
        return self._beat is not None and time.monotonic() - self._beat[0] < _SILENT_SECONDS

    @property
    def beat(self) -> Mapping[str, Any]:
        """The worker's last heartbeat."""
        return self._beat[1] if self._beat is not None else {}

    def drain(self) -> bool:
        """Let the worker finish its runs and take no more; return whether there is a worker."""
        self._ending.set()
        self.state = "drains"
        return self._signal(signal.SIGTERM)

    async def end(self) -> None:
        """Kill the worker and its runs now, and hand the runs back to the server.

        `keep` must still be running.

        Raises:
            FarmError: the server does not answer.
        """
        self._ending.set()
        self._signal(signal.SIGKILL)
        if self.process is not None:
            await self._gone.wait()
        spec = self.spec
        if spec is not None:
            await self.host.on_server(lambda client: hand_back_runs(client, spec.pool, spec.worker))

    def _signal(self, number: signal.Signals) -> bool:
        if self.process is None or self.process.returncode is not None:
            return False
        self.process.send_signal(number)
        return True
