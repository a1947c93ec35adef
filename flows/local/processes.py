"""The processes of a farm on one machine: started in order, restarted with backoff, stopped in reverse."""

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
        name: its name, for people and for its log file.
        command: program and arguments.
        environment: variables in addition to this process's own environment.
        ready: returns whether it serves; only then does the next part start. Runs in a thread.
        after: called each time it has become ready. Runs in a thread.
        once: whether it finishes its work and ends before the next part starts.
        user: the user that it runs as; empty for the current user.
        end_signal: the signal that stops it, also sent if this process is killed.
        end_seconds: how long it may take to stop; after half of that, the signal is repeated.
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
        """The command to start, wrapped so that the part ends with this process."""
        return dying_with_us(self.command, self.end_signal, self.user)

    @property
    def ending(self) -> tuple[tuple[signal.Signals, float], ...]:
        """The signals that stop it, each with the seconds until the next signal."""
        half = self.end_seconds / 2
        return (self.end_signal, half), (self.end_signal, half), (signal.SIGKILL, _KILL_SECONDS)


def answers(url: str) -> bool:
    """Return whether an HTTP server on this host answers `url` with success."""
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # proxies are for other hosts
    try:
        with directly.open(url, timeout=5):
            return True
    except OSError:
        return False


def free_port(port: int, option: str) -> int:
    """Return `port` if it is free; for 0, any free port.

    Raises:
        RequestInvalid: the port is in use.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise RequestInvalid(
                wanted=f"port {port} of the loopback",
                found=str(error),
                fix=f"stop the process that uses it, or give another port with {option}",
            ) from error
        return int(probe.getsockname()[1])


def start(part: Part, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start `part` with its output in `output`, and return once it is ready.

    Raises:
        ChildFailed: it did not start; its process has been ended.
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
    """Stop the process of `part`; kill it if it does not stop in time."""
    for number, seconds in part.ending:
        if process.poll() is None:
            _signal(process, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)


@contextmanager
def running(part: Part) -> Iterator[None]:
    """Run `part` while the block runs.

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
        logs: folder for the output of each part.
        say: called with a line when a part starts, and whenever something unexpected happens.
    """

    parts: tuple[Part, ...]
    logs: Path
    say: Callable[[str], None]
    _stop: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _processes: dict[str, Process] = field(default_factory=dict, init=False)

    def stop(self) -> None:
        """Stop `run`; a second call kills all remaining processes."""
        if self._stop.is_set():
            for process in self._processes.values():
                _signal(process, signal.SIGKILL)
        self._stop.set()

    async def run(self, started: Callable[[], None]) -> None:
        """Start everything, call `started`, keep the parts running until `stop` is called, and stop them.

        Raises:
            ChildFailed: a part did not start.
            Interrupted: `stop` was called before everything was started.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        keepers = []
        try:
            for part in self.parts:
                self.say(f"Starting {part.name}")
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
        """Start `part` and wait until it is ready or, with `once`, has ended.

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
                # Ctrl-C reaches only this process, which stops the others in order.
                start_new_session=True,
            )
            self._processes[part.name] = process
            if part.once:
                await self._first_of(process.wait())
            await self._wait_until_ready(part, process, output)
        if part.after is not None:
            await asyncio.to_thread(part.after)

    async def _wait_until_ready(self, part: Part, process: Process, output: IO[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while part.ready is not None and not await asyncio.to_thread(part.ready):
            _check_start(part, process.returncode, deadline, output)
            await self._first_of(asyncio.sleep(_POLL_SECONDS))
        if process.returncode:
            raise _failed(part, f"it ended with status {process.returncode}", output)

    async def _first_of(self, work: Awaitable[object]) -> None:
        """Wait for `work`.

        Raises:
            Interrupted: `stop` was called first.
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
        """Restart `part` with backoff whenever it ends."""
        pauses = iter(_BACKOFF)
        while True:
            started = time.monotonic()
            status = await self._processes[part.name].wait()
            pauses.attempt_lasted(time.monotonic() - started)
            pause = next(pauses)
            self.say(f"{part.name} ended with status {status}; restarting it in {pause:.0f} s")
            await asyncio.sleep(pause)
            try:
                await self._start(part)
            except Interrupted:
                raise
            except Exception as error:  # noqa: BLE001 (the part is restarted whatever `ready` and `after` raise)
                self.say(str(error) if isinstance(error, FarmError) else f"{part.name}: {error!r}")
                if self._processes[part.name].returncode is None:
                    _signal(self._processes[part.name], signal.SIGKILL)
            else:
                self.say(f"{part.name} is running again")

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
    """Send a signal to a process; SIGKILL goes to its whole group."""
    with suppress(ProcessLookupError):
        if number is signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


def _check_start(part: Part, status: int | None, deadline: float, output: IO[bytes]) -> None:
    """Check that `part` can still become ready.

    Raises:
        ChildFailed: it has ended, or has exceeded its start time.
    """
    if status is not None:
        raise _failed(part, f"it ended with status {status}", output)
    if time.monotonic() > deadline:
        raise _failed(part, f"it does not answer after {_START_SECONDS:.0f} s", output)


def _failed(part: Part, found: str, output: IO[bytes]) -> ChildFailed:
    output.seek(max(0, output.seek(0, os.SEEK_END) - _SHOWN_BYTES))
    last = output.read().decode(errors="replace").strip()
    is_file = isinstance(output.name, str)  # a temporary file has no name
    return ChildFailed(
        wanted=f"to start {part.name}",
        found=f"{found}; the last of what it printed:\n{last}",
        fix="correct the error above" + (f"; the whole log is {output.name}" if is_file else ""),
    )
