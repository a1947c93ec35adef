"""Finds a child that hangs at its memory limit because a thread could not be started.

The stack of a thread counts for the memory limit. TensorRT-RTX 1.7 and onnxruntime 1.32 survive that a thread
cannot be started, and then wait for it, or for its neighbours, for ever. Linux shows what each thread of a
process waits for. If each of them waits in futex(2) without a timeout, and all do so at the same moment, no
thread is left that could wake another. This needs no guess how long a step may take, whatever else runs.

A library may also have threads that wake up by themselves: onnxruntime has one that waits with a timeout, and
threads that wait for a driver do so in poll(2). They could wake the others. In that case the others, the main
thread among them, must not have run for a minute.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.children.group import children_of

_FUTEX = {"x86_64": 202, "aarch64": 98}.get(platform.machine(), -1)
_PAUSES = {
    # poll, select, epoll_wait, pselect6, ppoll, epoll_pwait, epoll_pwait2, nanosleep, clock_nanosleep
    "x86_64": (7, 23, 232, 270, 271, 281, 441, 35, 230),
    "aarch64": (22, 72, 73, 441, 101, 115),
}.get(platform.machine(), ())
_WAITS = (0, 9)  # FUTEX_WAIT, FUTEX_WAIT_BITSET
_COMMAND = 0x7F  # without the flags FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME
_ENTRY = "entry.py"
_NEAR = 0.75
_STILL_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """The threads of a process that wait for others of it, by number, with how often each has waited."""

    threads: Mapping[str, int]
    wakers: bool  # whether there are threads besides that wake up by themselves


class DeadlockWatch:
    """Looks at a child from outside, as often as `deadlocked_mib` is called."""

    def __init__(self, launcher: int, home: Path, memory_mib: int) -> None:
        """Watch the child that the process `launcher` starts in the folder `home` with a memory limit."""
        self._launcher, self._home, self._memory_mib = launcher, home, memory_mib
        self._child: Path | None = None
        self._last: _Rest | None = None
        self._since = 0.0

    def deadlocked_mib(self) -> int | None:
        """Return how much memory the child has if it waits for itself near its limit for ever, else None."""
        try:
            self._child = self._child or self._search(self._launcher)
            held = _data_mib(self._child) if self._child else 0
            rest = _rest(self._child) if self._child and held >= _NEAR * self._memory_mib else None
        except (OSError, ValueError):  # it has ended, or this host does not let us look
            return None
        if rest is None or rest != self._last:
            self._last, self._since = rest, time.monotonic()
            return None
        # No thread has run between the two looks, so there was a moment at which all waited.
        still = time.monotonic() - self._since
        return held if not rest.wakers or still >= _STILL_SECONDS else None

    def _search(self, pid: int) -> Path | None:
        process = Path(f"/proc/{pid}")
        arguments = os.fsdecode((process / "cmdline").read_bytes()).split("\0")[:-1]
        if arguments[-1:] == [str(self._home)] and Path(arguments[1]).name == _ENTRY:
            return process
        matches = (self._search(child) for child in children_of(process))
        return next((path for path in matches if path), None)


def _data_mib(process: Path) -> int:
    """Return what counts for RLIMIT_DATA (and the stack of the main thread, which does not)."""
    pages = int((process / "statm").read_bytes().split()[5])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def _rest(process: Path) -> _Rest | None:
    """Return the threads of a process if all of them wait, and at least the main thread without a timeout."""
    threads: dict[str, int] = {}
    wakers = False
    for task in sorted((process / "task").iterdir()):
        call = (task / "syscall").read_text("ascii").split()  # number and arguments, or "running"
        if _is_wait(call) and int(call[4], 16) == 0:
            threads[task.name] = _waits(task)
        elif task.name != process.name and (_is_wait(call) or call[0] in map(str, _PAUSES)):
            wakers = True
        else:
            return None
    return None if children_of(process) else _Rest(threads=threads, wakers=wakers)


def _is_wait(call: list[str]) -> bool:
    """Tell whether a system call is futex(word, FUTEX_WAIT, value, timeout)."""
    return call[0] == str(_FUTEX) and int(call[2], 16) & _COMMAND in _WAITS


def _waits(task: Path) -> int:
    """Return how often a thread has begun to wait."""
    lines = (task / "status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))
