"""How many processes a child starts, and how much memory they hold together: its own limit holds for each.

Only files in /proc are read for which the kernel waits for nobody. `smaps`, `smaps_rollup` and `cmdline` wait
for a lock that a process which forks all the time hardly ever gives away.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tasks.children.program import MOST_THREADS, Limits
from tasks.domain.errors import ChildFailed, ChildOutOfMemory

_SLACK_MIB = 256  # the launcher, and pages that libraries write before they make them read-only
_HELD = ("RssAnon", "RssShmem", "VmSwap")
_LOOKS = 5
_MEMORY_FILE = "/memfd:"
_BLOCK = 512  # bytes, the unit of `st_blocks`


class GroupWatch:
    """Checks, at each poll, the child of one step together with all that it started."""

    def __init__(self, step: str, *, launcher: int, limits: Limits) -> None:
        """Watch what the process `launcher` starts."""
        self._step, self._launcher, self._limits = step, launcher, limits
        self._looks_above = 0

    def check(self) -> None:
        """Check it.

        Raises:
            ChildFailed: there are too many processes or threads.
            ChildOutOfMemory: they hold more than `limits.memory_mib` together.
        """
        group: list[Path] = []
        for process in descendants(Path(f"/proc/{self._launcher}")):
            group.append(process)
            if len(group) > self._limits.processes:
                raise self._too_many(f"at most {self._limits.processes} processes", f"{len(group)} or more")
        held = {process: _figures(process / "status", (*_HELD, "Threads")) for process in group}
        threads = sum(figures["Threads"] for figures in held.values())
        if threads > MOST_THREADS:
            raise self._too_many(f"at most {MOST_THREADS} threads", f"{threads}")
        self._check_memory(sum(_in_use(figures, process) for process, figures in held.items()), len(group))

    def _too_many(self, wanted: str, counted: str) -> ChildFailed:
        return ChildFailed(
            wanted=f"{wanted} at a time in step {self._step}",
            found=f"{counted}; all have been ended",
            fix="find out where the model comes from: no library that the farm uses starts so many",
        )

    def _check_memory(self, kib: int, processes: int) -> None:
        if kib >> 10 <= self._limits.memory_mib + _SLACK_MIB:
            self._looks_above = 0
            return
        self._looks_above += 1
        if self._looks_above < _LOOKS:  # a process that is about to start another program has all of ours
            return
        raise ChildOutOfMemory(
            wanted=f"step {self._step} within {self._limits.memory_mib} MiB",
            found=f"{kib >> 10} MiB in {processes} processes, with shared memory; all have been ended",
            fix="raise ENGINEFARM_CHILD_MEMORY_MIB, or lower the largest shapes in build.yaml",
        )


def descendants(process: Path) -> Iterator[Path]:
    """Yield the folders in /proc of `process` and all that it started, parents first."""
    waiting = [process]
    while waiting:
        process = waiting.pop()
        yield process
        waiting += [Path(f"/proc/{number}") for number in children_of(process)]


def children_of(process: Path) -> list[int]:
    """Return the numbers of the processes that the threads of `process` started and that have not ended."""
    numbers: list[int] = []
    with suppress(OSError):  # it has ended
        for task in os.listdir(f"{process}/task"):  # noqa: PTH208 (hundreds of threads, ten times a second)
            numbers += map(int, _read(f"{process}/task/{task}/children").split())
    return numbers


def _read(file: str) -> bytes:
    """Return what a file in /proc says; nothing if its process or thread has ended."""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return b"".join(iter(lambda: os.read(descriptor, 1 << 16), b""))
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _figures(file: Path, names: tuple[str, ...]) -> dict[str, int]:
    """Return figures of a process by name, memory in KiB; 0 if it has ended or does not say."""
    figures = dict.fromkeys(names, 0)
    with suppress(OSError):
        for line in file.read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name in figures and value.split():
                figures[name] = int(value.split()[0])
    return figures


def _in_use(figures: dict[str, int], process: Path) -> int:
    """Return the memory of a process in KiB. A memory file may be mapped, so the larger of both counts."""
    private, shared, swapped = tuple(figures.values())[:3]
    return private + swapped + max(shared, _memory_files(process))


def _memory_files(process: Path) -> int:
    """Return what the open files without a place on any disk take, in KiB; not all of it is mapped."""
    blocks: dict[int, int] = {}
    with suppress(OSError):
        for entry in os.scandir(process / "fd"):
            with suppress(OSError):
                if str(Path(entry.path).readlink()).startswith(_MEMORY_FILE):
                    status = Path(entry.path).stat()
                    blocks[status.st_ino] = status.st_blocks
    return sum(blocks.values()) * _BLOCK >> 10
