"""Threads count for the memory limit; a child that waits for one that could not be started is ended."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path
from typing import Any

import pytest

from tasks.children import deadlock
from tasks.children.run import ChildProgram, Limits, run_child
from tasks.domain.errors import ChildOutOfMemory, ChildTimedOut

MIB = 256


def run(program: ChildProgram, workdir: Path, *, seconds: float = 1800.0, **request: Any) -> dict[str, Any]:
    limits = Limits(memory_mib=MIB, seconds=seconds)
    return dict(asyncio.run(run_child(program, request, workdir=workdir, limits=limits)).result)


@pytest.fixture(autouse=True)
def _known_machine() -> None:
    if not Path("/proc/self/syscall").exists() or deadlock._FUTEX < 0:
        pytest.skip("this kernel does not say what threads wait for")


def test_a_child_that_deadlocks_at_its_memory_limit_is_out_of_memory(
    program: ChildProgram, workdir: Path
) -> None:
    with pytest.raises(ChildOutOfMemory, match=r"2\d\d MiB in use, and all threads waiting for each other"):
        run(program, workdir, do="deadlock", mib=210)


def test_threads_that_wake_up_by_themselves_hide_no_deadlock(
    program: ChildProgram, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlock, "_STILL_SECONDS", 0.0)
    with pytest.raises(ChildOutOfMemory, match="all threads waiting for each other"):
        run(program, workdir, do="deadlock", mib=210, ticking=True)


def test_a_child_that_waits_for_a_sleeping_thread_is_no_deadlock(
    program: ChildProgram, workdir: Path
) -> None:
    assert run(program, workdir, do="wait_for_a_sleeper", mib=210) == {"woken": True}


def test_a_deadlock_far_from_the_memory_limit_ends_at_the_time_limit(
    program: ChildProgram, workdir: Path
) -> None:
    with pytest.raises(ChildTimedOut):
        run(program, workdir, do="deadlock", mib=0, seconds=3)


def test_threads_get_small_stacks_and_the_main_thread_keeps_its_own(
    program: ChildProgram, workdir: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    seen = run(program, workdir, do="stacks")
    assert (seen["main"], seen["threads"]) == ([soft, hard], 2 << 20)
