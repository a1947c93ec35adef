"""Processes that end when they are told to, whatever their threads wait for, and locks among processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agents.processes import PARENT_VARIABLE, try_lock
from tests.support.waiting import PATIENCE

_ROOT = Path(__file__).parents[3]
_WAITS = """
import asyncio, signal, sys, time
from agents.processes import end_soon_after_sigterm

end_soon_after_sigterm(float(sys.argv[1]))

def ends(*_):
    raise SystemExit(3)

async def main():
    waiting = asyncio.ensure_future(asyncio.to_thread(time.sleep, float(sys.argv[2])))
    await asyncio.sleep(0.1)
    print("waits", flush=True)
    await waiting

signal.signal(signal.SIGTERM, ends)
asyncio.run(main())
"""


def _status_after_sigterm(grace: float, thread: float) -> int:
    command = [sys.executable, "-c", _WAITS, str(grace), str(thread)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waits\n"
        process.terminate()
        return process.wait(PATIENCE)


def test_a_process_whose_thread_waits_is_killed() -> None:
    assert _status_after_sigterm(grace=0.5, thread=600.0) == -signal.SIGKILL


def test_a_process_that_can_ends_by_itself() -> None:
    assert _status_after_sigterm(grace=PATIENCE, thread=0.5) == 3


_LOCKS = """
import sys, time
from agents.processes import try_lock

print(try_lock(sys.argv[1]) is not None, flush=True)
time.sleep(600)
"""


def test_a_lock_is_free_again_once_its_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", _LOCKS, "lock"], cwd=_ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        assert try_lock("lock") is None
        process.kill()
    descriptor = try_lock("lock")
    assert descriptor is not None
    os.close(descriptor)


@pytest.mark.parametrize(("variables", "status"), [({}, 0), ({PARENT_VARIABLE: "1"}, -signal.SIGKILL)])
def test_a_process_whose_agent_died_first_ends(variables: dict[str, str], status: int) -> None:
    command = [sys.executable, "-c", "from agents.processes import die_with_parent; die_with_parent()"]
    passed = {name: value for name, value in os.environ.items() if name != PARENT_VARIABLE}
    assert subprocess.run(command, cwd=_ROOT, check=False, env=passed | variables).returncode == status
