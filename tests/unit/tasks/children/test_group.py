"""A child is bounded together with all that it starts: processes, and memory that no limit of one counts."""

from __future__ import annotations

import asyncio
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
    assert "with the memory that they share" in caught.value.found
    assert "ENGINEFARM_CHILD_MEMORY_MIB" in caught.value.fix


def test_memory_that_processes_have_in_common_counts_once(
    program: ChildProgram, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    closer = group.GroupWatch._check_shares

    def note(watch: group.GroupWatch, processes: list[Path]) -> None:
        checked.append(len(processes))
        closer(watch, processes)

    monkeypatch.setattr(group.GroupWatch, "_check_shares", note)
    limits = Limits(memory_mib=256, seconds=60)
    answer = run(program, workdir, limits, do="hold_together", kind="in common", mib=200, seconds=1)
    assert answer.result == {"held": True}
    assert checked  # counted for each process it would have been too much


def test_a_child_cannot_hide_its_memory_from_the_farm(program: ChildProgram, workdir: Path) -> None:
    if not sandbox._has_seccomp():
        pytest.skip("this host has no libseccomp")
    assert run(program, workdir, do="hide").result == {"error": "EACCES"}


def test_the_kernel_limits_threads_where_it_counts_those_of_one_child(
    program: ChildProgram, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_user = "--user" in (sandbox._namespaces() or ()) and sandbox._counts_by_namespace()
    limits = run(program, workdir, do="limits").result
    assert (limits["processes"] == MOST_THREADS) == own_user
    monkeypatch.setattr(sandbox, "_counts_by_namespace", lambda: False)
    before = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    assert run(program, workdir, do="limits").result["processes"] == before


def test_more_threads_than_any_library_starts(
    workdir: Path, program: ChildProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "MOST_THREADS", 8)
    with pytest.raises(ChildFailed, match="at most 8 threads"):
        run(program, workdir, do="start_threads", threads=12)


def test_a_process_that_has_ended_holds_nothing() -> None:
    gone = Path(f"/proc/{sys.maxsize}")
    assert list(group.descendants(gone)) == [gone]
    assert group._in_use(group._shares(gone), gone) == 0
