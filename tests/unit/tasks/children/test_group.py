"""A child is bounded together with all that it starts: processes, and memory that no limit of one counts."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.children import group, sandbox
from tasks.children.program import MOST_THREADS
from tasks.children.run import ChildAnswer, ChildProgram, Limits, run_child
from tasks.domain.errors import ChildFailed, ChildOutOfMemory
from tests.support.waiting import wait_until

LIMITS = Limits(memory_mib=1024, seconds=60)


def run(program: ChildProgram, workdir: Path, limits: Limits = LIMITS, **request: Any) -> ChildAnswer:
    return asyncio.run(run_child(program, request, workdir=workdir, limits=limits))


@pytest.mark.parametrize("namespaces", [True, False])
def test_a_child_that_starts_thousands_of_processes_is_ended_with_all_of_them(
    program: ChildProgram,
    workdir: Path,
    living: Callable[[], list[int]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    namespaces: bool,
) -> None:
    if not namespaces:
        monkeypatch.setattr(sandbox, "_namespaces", lambda: None)
    many = {"do": "start_many", "processes": 3000, "session": True, "stays": True}

    async def beside_another() -> list[ChildAnswer | BaseException]:
        other = {"do": "start_many", "processes": 5, "session": False, "stays": False}
        runs = (run_child(program, request, workdir=workdir, limits=LIMITS) for request in (many, other))
        return await asyncio.gather(*runs, return_exceptions=True)

    error, other = asyncio.run(beside_another())
    assert isinstance(error, ChildFailed)
    assert error.wanted == "at most 256 processes at a time in step try"
    assert not error.retryable
    assert isinstance(other, ChildAnswer)
    wait_until(lambda: living() == [])


def test_a_few_processes_are_no_reason_to_end_a_child(program: ChildProgram, workdir: Path) -> None:
    limits = replace(LIMITS, processes=12)
    request = {"do": "start_many", "processes": 5, "session": False, "stays": False}
    assert run(program, workdir, limits, **request).result == {}


@pytest.mark.parametrize("kind", ["shared", "memory file", "several"])
def test_memory_of_the_whole_group_counts(kind: str, program: ChildProgram, workdir: Path) -> None:
    """Seven processes hold 120 MiB each, or one has 600 MiB that are no data of its own."""
    limits = Limits(memory_mib=256, seconds=60)
    mib = 120 if kind == "several" else 600
    with pytest.raises(ChildOutOfMemory) as caught:
        run(program, workdir, limits, do="hold_together", kind=kind, mib=mib, seconds=600)
    assert caught.value.wanted == "step try within 256 MiB"
    assert "with shared memory" in caught.value.found
    assert "ENGINEFARM_CHILD_MEMORY_MIB" in caught.value.fix


def test_memory_above_the_limit_for_a_moment_ends_no_child(
    program: ChildProgram, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a process that starts another program, and has all memory of its parent until then."""
    looks: list[int] = []
    check = group.GroupWatch._check_memory

    def above_now_and_then(watch: group.GroupWatch, kib: int, processes: int) -> None:
        looks.append(kib)
        check(watch, kib if len(looks) % 5 == 0 else 1 << 30, processes)

    monkeypatch.setattr(group.GroupWatch, "_check_memory", above_now_and_then)
    answer = run(program, workdir, do="hold_together", kind="shared", mib=1, seconds=2)
    assert answer.result == {"held": True}
    assert len(looks) > 5


def test_a_child_that_forks_all_the_time_is_ended(
    program: ChildProgram, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it does, the kernel answers hardly any question about its memory."""
    monkeypatch.setattr(sandbox, "MOST_THREADS", 100)  # of all processes on this machine
    limits = replace(LIMITS, memory_mib=64)
    with pytest.raises(ChildOutOfMemory, match="with shared memory"):
        run(program, workdir, limits, do="fork_without_end", most=60)


def test_a_child_cannot_hide_its_memory_from_the_farm(program: ChildProgram, workdir: Path) -> None:
    if not sandbox._has_seccomp():
        pytest.skip("this host has no libseccomp")
    assert run(program, workdir, do="hide").result == {"error": "EACCES"}


def test_the_kernel_limits_threads_where_it_counts_those_of_one_child(
    program: ChildProgram, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaces = sandbox._namespaces() or ()
    own_user = "--user" in spaces and sandbox._linux() >= (5, 14)
    limits = run(program, workdir, do="limits").result
    assert (limits["processes"] == MOST_THREADS) == own_user
    monkeypatch.setattr(sandbox, "_linux", lambda: (5, 13))
    before = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    assert run(program, workdir, do="limits").result["processes"] == before


def test_the_kernel_refuses_more_processes_to_a_child_of_root_and_the_host_keeps_its_own_limit(
    program: ChildProgram, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0 or "--mount-proc" not in (sandbox._namespaces() or ()) or sandbox._linux() < (6, 14):
        pytest.skip("this kernel limits no processes of root in a namespace")
    host = Path("/proc/sys/kernel/pid_max").read_text("ascii")
    monkeypatch.setattr(sandbox, "MOST_THREADS", 400)
    request = {"do": "start_many", "processes": 3000, "session": False, "stays": True}
    with pytest.raises(ChildFailed, match="BlockingIOError"):
        run(program, workdir, replace(LIMITS, processes=4000, memory_mib=16384), **request)
    assert Path("/proc/sys/kernel/pid_max").read_text("ascii") == host


def test_more_threads_than_any_library_starts(
    workdir: Path, program: ChildProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "MOST_THREADS", 8)
    with pytest.raises(ChildFailed, match="at most 8 threads"):
        run(program, workdir, do="start_threads", threads=12)


def test_a_process_that_has_ended_holds_nothing() -> None:
    gone = Path(f"/proc/{sys.maxsize}")
    assert list(group.descendants(gone)) == [gone]
    assert group._in_use(group._figures(gone / "status", group._HELD), gone) == 0
