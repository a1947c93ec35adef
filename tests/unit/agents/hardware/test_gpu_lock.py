"""One build at a time on a GPU, within a process and between processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agents.hardware.gpu_lock import gpu_lock
from tests.support.waiting import PATIENCE

_HOLDER = """
import asyncio, sys
from agents.hardware.gpu_lock import gpu_lock
async def hold():
    async with gpu_lock(sys.argv[1]):
        print("held", flush=True)
        await asyncio.sleep(600)
asyncio.run(hold())
"""


@pytest.fixture(autouse=True)
def lock_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_two_tasks_take_turns() -> None:
    events: list[str] = []

    async def build(name: str) -> None:
        async with gpu_lock("GPU-1"):
            events.append(f"{name} starts")
            await asyncio.sleep(0.1)
            events.append(f"{name} ends")

    async def both() -> None:
        await asyncio.gather(build("a"), build("b"))

    asyncio.run(both())
    assert [event.split()[1] for event in events] == ["starts", "ends", "starts", "ends"]


async def _taken(uuid: str | None, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds), gpu_lock(uuid):
            return True
    except TimeoutError:
        return False


def test_another_process_is_waited_for_and_its_death_frees_the_gpu() -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER, "GPU-1"], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert not asyncio.run(_taken("GPU-1", 0.7))
        assert asyncio.run(_taken("GPU-2", PATIENCE))
        assert asyncio.run(_taken(None, PATIENCE))
        holder.kill()
        holder.wait()
        assert asyncio.run(_taken("GPU-1", PATIENCE))
