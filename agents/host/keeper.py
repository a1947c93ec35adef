"""Keeps one place of a host served: its worker is started, started again when it ends, and ended."""

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

from agents.host.host import Host
from agents.host.seats import Place, Seat
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
class Keeper:
    """The keeper of one place.

    Attributes:
        place: which.
        host: what it shares with the other keepers.
        flows: where the code of each flow is that workers run, by the flow's name.
        environment: of workers.
        end_orphans: returns once nothing lives that a worker started which has ended.
        seat: what the place is now, once that is known.
        process: its worker, until nothing of it is left.
        state: what goes on, for people.
    """

    place: Place
    host: Host
    flows: Mapping[str, str]
    environment: Mapping[str, str]
    end_orphans: Callable[[], Awaitable[None]]
    seat: Seat | None = None
    process: Process | None = None
    state: str = "starts"
    _beat: tuple[float, dict[str, Any]] | None = field(default=None, init=False)
    _ending: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _gone: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def keep(self) -> None:
        """Serve the place until `drain` or `end` is called.

        Raises:
            FarmError: what keeps it from being served for the first time, and a person has to change.
        """
        pauses, afresh = iter(_BACKOFF), False
        while not self._ending.is_set():
            started = time.monotonic()
            try:
                await self._serve(await self._take(afresh=afresh))
            except _FOR_NOW as error:
                if self.seat is None and isinstance(error, FarmError) and not error.retryable:
                    raise
                self.state = f"waits: {error}"
                _LOG.warning("%s: %s", self.place.label, error)
            afresh = True
            pauses.attempt_lasted(time.monotonic() - started)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), next(pauses))

    async def _take(self, *, afresh: bool) -> Seat:
        """Return the seat at this place, with everything prepared for its worker."""
        before = self.seat
        if before is not None:
            await self._give_up(before)
        seat = await self.host.find(self.place, afresh=afresh)
        await self.host.prepare(seat, before=before)
        if before is None or before.worker != seat.worker:
            # A worker of this name ran before the power failed, or before the agent was killed.
            await self._give_up(seat)
        self.seat = seat
        return seat

    async def _give_up(self, seat: Seat) -> None:
        await self.host.on_server(lambda client: give_up_runs(client, seat.pool, seat.worker))

    async def _serve(self, seat: Seat) -> None:
        """Run a worker to its end; nothing of it is left then."""
        reading, writing = os.pipe()
        try:
            process = await self._start(seat, writing)
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
        reason = "its toolchain is another one now" if status == LOOK_AGAIN else self.state
        _LOG.log(logging.INFO if self._ending.is_set() else logging.WARNING, "%s: %s", seat.worker, reason)

    async def _start(self, seat: Seat, beats: int) -> Process:
        order = WorkerOrder(
            pool=seat.pool, name=seat.worker, limit=seat.place.limit, flows=self.flows, beats=beats
        )
        environment = {**self.environment, **seat.environment, PARENT_VARIABLE: str(os.getpid())}
        async with self.host.forking:
            self._gone.clear()
            self.process = await create_subprocess_exec(
                sys.executable, "-P", "-m", "agents.worker.main", order.to_json(),
                env=environment, pass_fds=(beats,), stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the agent, which then says what its workers do
            )  # fmt: skip
        self.state = "starts"
        _LOG.info("%s: started as process %d", seat.worker, self.process.pid)
        return self.process

    async def _listen(self, reading: int, process: Process) -> None:
        """Note the worker's beats; kill it where they stop."""
        os.set_blocking(reading, False)
        last = time.monotonic() + _START_SECONDS - _SILENT_SECONDS
        while time.monotonic() - last < _SILENT_SECONDS:
            await asyncio.sleep(_LISTEN_SECONDS)
            with contextlib.suppress(BlockingIOError):
                beat = json.loads(os.read(reading, 1 << 16).splitlines()[-1])
                last = time.monotonic()
                self._beat = last, beat
                self.state = "drains" if self._ending.is_set() else describe(beat)
        _LOG.error("%s: its worker is stuck, and is killed", self.place.label)
        process.kill()

    @property
    def well(self) -> bool:
        """Whether the place is served."""
        return self._beat is not None and time.monotonic() - self._beat[0] < _SILENT_SECONDS

    @property
    def beat(self) -> Mapping[str, Any]:
        """What the worker last told."""
        return self._beat[1] if self._beat is not None else {}

    def drain(self) -> bool:
        """Let the worker finish its runs and take no more; return whether there is one."""
        self._ending.set()
        self.state = "drains"
        return self._signal(signal.SIGTERM)

    async def end(self) -> None:
        """End the worker and all that it runs, now, and hand its runs back, if it has any.

        Needs `keep` to go on.

        Raises:
            FarmError: the server does not answer.
        """
        self._ending.set()
        self._signal(signal.SIGKILL)
        if self.process is not None:
            await self._gone.wait()
        seat = self.seat
        if seat is not None:
            await self.host.on_server(lambda client: hand_back_runs(client, seat.pool, seat.worker))

    def _signal(self, number: signal.Signals) -> bool:
        if self.process is None or self.process.returncode is not None:
            return False
        self.process.send_signal(number)
        return True
