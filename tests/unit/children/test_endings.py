"""However a call ends, its processes end with it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tasks
from tasks.children.run import ChildAnswer, ChildProgram, Limits, run_child
from tasks.domain.errors import (
    ChildTimedOut,
)

Ended = Callable[[int], bool]
LIMITS = Limits(memory_mib=1024, seconds=60)


def run(program: ChildProgram, workdir: Path, limits: Limits = LIMITS, **request: Any) -> ChildAnswer:
    return asyncio.run(run_child(program, request, workdir=workdir, limits=limits))


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def pids(path: Path) -> tuple[int, int]:
    wait_for(lambda: path.exists() and len(path.read_text("utf-8").split()) == 2)
    child, helper = path.read_text("utf-8").split()
    return int(child), int(helper)


def test_a_grandchild_that_holds_the_output_open_is_ended(
    program: ChildProgram, workdir: Path, tmp_path: Path, ended: Ended
) -> None:
    answer = run(program, workdir, do="leave_grandchild", pids=str(tmp_path / "pids"))
    assert answer.result == {"done": True}
    assert answer.seconds < 30
    both = pids(tmp_path / "pids")
    wait_for(lambda: all(ended(pid) for pid in both))


def test_the_time_limit_ends_the_whole_group(
    program: ChildProgram, workdir: Path, tmp_path: Path, ended: Ended
) -> None:
    with pytest.raises(ChildTimedOut, match="within 2 s"):
        run(program, workdir, Limits(memory_mib=1024, seconds=2), do="hang", pids=str(tmp_path / "pids"))
    both = pids(tmp_path / "pids")
    wait_for(lambda: all(ended(pid) for pid in both))


def test_cancelling_ends_the_whole_group(
    program: ChildProgram, workdir: Path, tmp_path: Path, ended: Ended
) -> None:
    async def cancel() -> None:
        request = {"do": "hang", "pids": str(tmp_path / "pids")}
        work = asyncio.create_task(run_child(program, request, workdir=workdir, limits=LIMITS))
        await asyncio.to_thread(pids, tmp_path / "pids")
        work.cancel()
        await work

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    both = pids(tmp_path / "pids")
    wait_for(lambda: all(ended(pid) for pid in both))


def test_a_child_ends_when_its_parent_is_killed(interpreter: str, tmp_path: Path, ended: Ended) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from tasks.children.run import ChildProgram, Limits, run_child
program = ChildProgram(module="tasks.stand_in", step="try", interpreter={interpreter!r})
request = {{"do": "hang", "pids": {str(tmp_path / "pids")!r}}}
asyncio.run(run_child(program, request, workdir=Path({str(tmp_path)!r}), limits=Limits(memory_mib=1024)))
"""
    root = str(Path(tasks.__file__).parent.parent)
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=root, env=os.environ | {"PYTHONPATH": root})
    child, helper = pids(tmp_path / "pids")
    parent.kill()
    parent.wait()
    try:
        wait_for(lambda: ended(child))
    finally:
        os.kill(helper, signal.SIGKILL)
