"""Processes that make a farm on one machine: started in order, again when they die, ended in reverse."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tasks.children.parent import dying_with_us
from tasks.domain.backoff import Backoff
from tasks.domain.errors import ChildFailed, FarmError, Interrupted, RequestInvalid

HOST = "127.0.0.1"
_START_SECONDS = 120.0
_POLL_SECONDS = 0.1
_BACKOFF = Backoff(first=1.0, longest=30.0, reset_after=60.0)
_KILL_SECONDS = 5.0
_SHOWN_BYTES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process of a farm.

    Attributes:
        name: what it is, for people and for the name of its log.
        command: program and arguments.
        environment: what it is told beside this process's own environment.
        ready: says whether it serves; the next part starts then. Runs in a thread.
        after: what is to be done each time it serves, from this process. Runs in a thread.
        once: whether it does its work and ends, before the next part starts.
        user: whose process it is; empty: the user's who starts it.
        end_signal: how it is told to end, also when this process is killed.
        end_seconds: how long it may take for that; after the first half of it the signal is repeated.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    after: Callable[[], None] | None = None
    once: bool = False
    user: str = ""
    end_signal: signal.Signals = signal.SIGTERM
    end_seconds: float = 20.0

    @property
    def started_by(self) -> tuple[str, ...]:
        """The command that this process starts, so that the part ends with it."""
        return dying_with_us(self.command, self.end_signal, self.user)

    @property
    def ending(self) -> tuple[tuple[signal.Signals, float], ...]:
        """The signals that end it, each with the seconds that it has then."""
        half = self.end_seconds / 2
        return (self.end_signal, half), (self.end_signal, half), (signal.SIGKILL, _KILL_SECONDS)


def answers(url: str) -> bool:
    """Say whether an HTTP server on this host answers `url` with success."""
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy is for other hosts
    try:
        with directly.open(url, timeout=5):
            return True
    except OSError:
        return False


def free_port(port: int, option: str) -> int:
    """Return `port` if nothing listens on it; for 0 any such port.

    Raises:
        RequestInvalid: something listens.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RequestInvalid(
                wanted=f"port {port} of the loopback",
                found=str(error),
                fix=f"end what uses it, or give another one as {option}",
            ) from error
        return int(probe.getsockname()[1])


def start(part: Part, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start `part`, which prints into `output`, and return once it serves.

    Raises:
        ChildFailed: it did not start; nothing of it is left.
    """
    process = subprocess.Popen(
        part.started_by,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=os.environ | part.environment,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while part.ready is not None and not part.ready():
            _check_start(part, process.poll(), deadline, output)
            time.sleep(_POLL_SECONDS)
        if part.after is not None:
            part.after()
    except BaseException:
        end(part, process)
        raise
    return process


def end(part: Part, process: subprocess.Popen[bytes]) -> None:
    """End the process of `part`, at last by force."""
    for number, seconds in part.ending:
        if process.poll() is None:
            _signal(process, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)


@contextmanager
def running(part: Part) -> Iterator[None]:
    """Have `part` serve what is done inside.

    Raises:
        ChildFailed: it did not start.
    """
    with tempfile.TemporaryFile() as output:
        process = start(part, output)
        try:
            yield
        finally:
            end(part, process)


@dataclass(kw_only=True)
class LocalFarm:
    """The parts of one farm, and their processes.

    Attributes:
        parts: in the order in which they start.
        logs: folder that gets what each of them prints.
        say: is given a line whenever something unexpected happens.
    """

    parts: tuple[Part, ...]
    logs: Path
    say: Callable[[str], None]
    _stop: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _processes: dict[str, Process] = field(default_factory=dict, init=False)

    def stop(self) -> None:
        """End `run`; a second call kills what still runs."""
        if self._stop.is_set():
            for process in self._processes.values():
                _signal(process, signal.SIGKILL)
        self._stop.set()

    async def run(self, started: Callable[[], None]) -> None:
        """Start everything, call `started`, keep it up until `stop` is called, and end it.

        Raises:
            ChildFailed: a part did not start.
            Interrupted: `stop` was called before everything was started.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        keepers = []
        try:
            for part in self.parts:
                await self._start(part)
                if not part.once:
                    keepers.append(asyncio.create_task(self._keep(part)))
            started()
            await self._stop.wait()
        finally:
            self._stop.set()
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            await self._end_all()

    async def _start(self, part: Part) -> None:
        """Start `part` and wait until it serves, or until its work is done.

        Raises:
            ChildFailed, Interrupted: as `run`.
        """
        with (self.logs / f"{part.name}.log").open("a+b") as output:
            process = await asyncio.create_subprocess_exec(
                *part.started_by,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | part.environment,
                # Ctrl-C reaches this process alone, which ends the others in order.
                start_new_session=True,
            )
            self._processes[part.name] = process
            if part.once:
                await self._first_of(process.wait())
            await self._until_it_serves(part, process, output)
        if part.after is not None:
            await asyncio.to_thread(part.after)

    async def _until_it_serves(self, part: Part, process: Process, output: IO[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while part.ready is not None and not await asyncio.to_thread(part.ready):
            _check_start(part, process.returncode, deadline, output)
            await self._first_of(asyncio.sleep(_POLL_SECONDS))
        if process.returncode:
            raise _failed(part, f"it ended with status {process.returncode}", output)

    async def _first_of(self, work: Awaitable[object]) -> None:
        """Wait for `work`, or for the end.

        Raises:
            Interrupted: the end came first.
        """
        tasks = [asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._stop.is_set():
            raise Interrupted(wanted="to start the farm", found="a signal to stop", fix="start it again")

    async def _keep(self, part: Part) -> None:
        """Start `part` again whenever it ends by itself."""
        pauses = iter(_BACKOFF)
        while True:
            started = time.monotonic()
            status = await self._processes[part.name].wait()
            pauses.attempt_lasted(time.monotonic() - started)
            pause = next(pauses)
            self.say(f"{part.name} ended with status {status}; it starts again in {pause:.0f} s")
            await asyncio.sleep(pause)
            try:
                await self._start(part)
            except Interrupted:
                raise
            except Exception as error:  # noqa: BLE001 (whatever `ready` and `after` find, the part is kept)
                self.say(str(error) if isinstance(error, FarmError) else f"{part.name}: {error!r}")
                if self._processes[part.name].returncode is None:
                    _signal(self._processes[part.name], signal.SIGKILL)
            else:
                self.say(f"{part.name} runs again")

    async def _end_all(self) -> None:
        for part in reversed(self.parts):
            process = self._processes.get(part.name)
            if process is None:
                continue
            for number, seconds in part.ending:
                if process.returncode is None:
                    _signal(process, number)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(process.wait(), seconds)


def _signal(process: Process | subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Tell a process, and when it is killed, its whole group."""
    with suppress(ProcessLookupError):
        if number is signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


def _check_start(part: Part, status: int | None, deadline: float, output: IO[bytes]) -> None:
    """Raise where `part` will not serve any more.

    Raises:
        ChildFailed: it has ended, or its time is over.
    """
    if status is not None:
        raise _failed(part, f"it ended with status {status}", output)
    if time.monotonic() > deadline:
        raise _failed(part, f"it does not answer after {_START_SECONDS:.0f} s", output)


def _failed(part: Part, found: str, output: IO[bytes]) -> ChildFailed:
    output.seek(max(0, output.seek(0, os.SEEK_END) - _SHOWN_BYTES))
    last = output.read().decode(errors="replace").strip()
    is_file = isinstance(output.name, str)  # a temporary one has no name
    return ChildFailed(
        wanted=f"to start {part.name}",
        found=f"{found}; the last of what it printed:\n{last}",
        fix="correct what it says there" + (f"; everything is in {output.name}" if is_file else ""),
    )
