"""A build that is cancelled leaves no process and no file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.children.progress import listening
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.tensorrt.engine import EngineJob, build_engine

MANY_LAYERS = 500


def processes_below(folder: Path) -> list[str]:
    """Command lines of live processes that name `folder`."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended meanwhile
            continue
        if str(folder) in line:
            pids.append(line)
    return pids


def test_cancelled_build_leaves_nothing(
    job: Callable[..., EngineJob], conv_net: Callable[..., Path], tmp_path: Path, limits: Limits
) -> None:
    onnx_file = conv_net(MANY_LAYERS)
    seen: list[str] = []

    async def cancel_during_the_build() -> None:
        building = asyncio.Event()

        def listen(step: str, phase: str, fraction: float) -> None:
            del step, fraction
            if phase == "build":
                building.set()

        with listening(listen):
            task = asyncio.create_task(
                build_engine(job(onnx_file), work=Workspace(folder=tmp_path, limits=limits))
            )
            await building.wait()
            seen.extend(processes_below(tmp_path))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel_during_the_build())
    assert any("tasks.tensorrt.inside.build" in line for line in seen)
    assert processes_below(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
