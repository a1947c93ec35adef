"""One build at a time on a GPU: TensorRT picks kernels by timing them, and two builds measure each other."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tasks.children.progress import report_progress

_POLL_SECONDS = 0.5


@asynccontextmanager
async def gpu_lock(uuid: str | None) -> AsyncIterator[None]:
    """Hold the GPU `uuid` for this task among all processes of this user on this host; None holds nothing.

    The kernel gives the lock back when the process ends, however it ends.
    """
    if uuid is None:
        yield
        return
    path = Path(tempfile.gettempdir()) / f"enginefarm-gpu-{os.getuid()}-{uuid}.lock"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        while not _taken(descriptor):
            report_progress("wait for the GPU", uuid, 0.0)
            await asyncio.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
