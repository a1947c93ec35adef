"""Processes that end when they are told to, whatever their threads wait for."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

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
        return process.wait(60)


def test_a_process_whose_thread_waits_is_killed() -> None:
    assert _status_after_sigterm(grace=0.5, thread=600.0) == -signal.SIGKILL


def test_a_process_that_can_ends_by_itself() -> None:
    assert _status_after_sigterm(grace=30.0, thread=0.5) == 3
