"""However a call ends, its processes end with it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tasks
from tasks.children import sandbox
from tasks.children.run import ChildAnswer, ChildProgram, Limits, run_child
from tasks.domain.errors import ChildTimedOut
from tests.support.waiting import wait_until

Living = Callable[[], list[int]]
LIMITS = Limits(memory_mib=1024)


@pytest.fixture(params=["with namespaces", "without"])
def mark(request: pytest.FixtureRequest, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that the child's helper has in its command line; once where namespaces are forbidden."""
    if request.param == "without":
        monkeypatch.setattr(sandbox, "_namespaces", lambda: None)
    elif sandbox._namespaces() is None:
        pytest.skip("this kernel or container forbids namespaces")
    yield workdir / "mark"
    for path in workdir.glob("mark*"):
        path.unlink()


def run(program: ChildProgram, workdir: Path, limits: Limits = LIMITS, **request: Any) -> ChildAnswer:
    return asyncio.run(run_child(program, request, workdir=workdir, limits=limits))


def wait_for_start(mark: Path, living: Living) -> None:
    wait_until(mark.with_suffix(".started").exists)
    assert len(living()) >= 2


@pytest.mark.parametrize("session", [False, True])
def test_a_grandchild_is_ended_in_whatever_session(
    program: ChildProgram, workdir: Path, mark: Path, living: Living, *, session: bool
) -> None:
    answer = run(program, workdir, do="leave_grandchild", mark=str(mark), session=session)
    assert answer.result == {"done": True}
    assert mark.with_suffix(".started").exists()
    wait_until(lambda: living() == [])


def test_the_time_limit_ends_everything(
    program: ChildProgram, workdir: Path, mark: Path, living: Living
) -> None:
    started = mark.with_suffix(".started")
    for seconds in (2, 20, 200):  # a machine under load may not have started it by then
        limits = Limits(memory_mib=1024, seconds=seconds)
        with pytest.raises(ChildTimedOut, match=f"within {seconds} s"):
            run(program, workdir, limits, do="hang", mark=str(mark), session=True)
        if started.exists():
            break
    assert started.exists()
    wait_until(lambda: living() == [])


def test_cancelling_ends_everything(program: ChildProgram, workdir: Path, mark: Path, living: Living) -> None:
    async def cancel() -> None:
        request = {"do": "hang", "mark": str(mark), "session": True}
        work = asyncio.create_task(run_child(program, request, workdir=workdir, limits=LIMITS))
        await asyncio.to_thread(wait_for_start, mark, living)
        work.cancel()
        await work

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    wait_until(lambda: living() == [])


def test_everything_ends_when_the_farm_is_killed(
    interpreter: str, tmp_path: Path, mark: Path, living: Living
) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from tasks.children import sandbox
from tasks.children.run import ChildProgram, Limits, run_child
if {sandbox._namespaces() is None}:
    sandbox._namespaces = lambda: None
program = ChildProgram(module="tasks.stand_in", step="try", interpreter={interpreter!r})
request = {{"do": "hang", "mark": {str(mark)!r}, "session": True}}
asyncio.run(run_child(program, request, workdir=Path({str(tmp_path)!r}), limits=Limits(memory_mib=1024)))
"""
    root = str(Path(tasks.__file__).parent.parent)
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=root, env=os.environ | {"PYTHONPATH": root})
    wait_for_start(mark, living)
    parent.kill()
    parent.wait()
    wait_until(lambda: living() == [])
