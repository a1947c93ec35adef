"""Processes that make a farm on one machine: started in order, again when they die, ended in reverse."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import urllib.request
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tasks.domain.errors import ChildFailed, FarmError, Interrupted

_START_SECONDS = 120.0
_POLL_SECONDS = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_KILL_SECONDS = 5.0
_LINES = 8


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
        end_signal: how it is told to end.
        end_seconds: how long it may take for that; after the first half of it the signal is repeated.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    after: Callable[[], None] | None = None
    once: bool = False
    end_signal: signal.Signals = signal.SIGTERM
    end_seconds: float = 20.0


def answers(url: str) -> bool:
    """Say whether an HTTP server answers `url` with success."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 (URLs of the farm's own servers)
            return True
    except OSError:
        return False


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
        log = self.logs / f"{part.name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *dying_with_us(part.command),
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
        elif part.ready is not None:
            await self._until_it_serves(part, process, log)
        if process.returncode:
            raise _failed(part, f"it ended with status {process.returncode}", log)
        if part.after is not None:
            await asyncio.to_thread(part.after)

    async def _until_it_serves(self, part: Part, process: Process, log: Path) -> None:
        assert part.ready is not None  # noqa: S101
        deadline = asyncio.get_running_loop().time() + _START_SECONDS
        while not await asyncio.to_thread(part.ready):
            if process.returncode is not None:
                raise _failed(part, f"it ended with status {process.returncode}", log)
            if asyncio.get_running_loop().time() > deadline:
                raise _failed(part, f"it does not answer after {_START_SECONDS:.0f} s", log)
            await self._first_of(asyncio.sleep(_POLL_SECONDS))

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
        pause = _FIRST_PAUSE
        while True:
            status = await self._processes[part.name].wait()
            self.say(f"{part.name} ended with status {status}; it starts again in {pause:.0f} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
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
            for number, seconds in (
                (part.end_signal, part.end_seconds / 2),
                (part.end_signal, part.end_seconds / 2),
                (signal.SIGKILL, _KILL_SECONDS),
            ):
                if process.returncode is None:
                    _signal(process, number)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(process.wait(), seconds)


def _signal(process: Process, number: signal.Signals) -> None:
    """Tell a process, and when it is killed, its whole group."""
    with suppress(ProcessLookupError):
        if number is signal.SIGKILL:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


def dying_with_us(command: tuple[str, ...]) -> tuple[str, ...]:
    """Have the kernel tell a process to end when this one is killed; util-linux' setpriv asks it to."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "TERM", "--", *command) if setpriv else command


def _failed(part: Part, found: str, log: Path) -> ChildFailed:
    last = "\n".join(log.read_text("utf-8", "replace").splitlines()[-_LINES:])
    return ChildFailed(
        wanted=f"to start {part.name}",
        found=f"{found}; the last of what it printed:\n{last}",
        fix=f"correct what it says there; everything is in {log}",
    )
