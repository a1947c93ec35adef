"""One build at a time on a GPU: TensorRT chooses kernels by their times, which a second build distorts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from agents.processes import try_lock
from tasks.children.progress import report_progress
from tasks.tensorrt.site import BuildSite

_POLL_SECONDS = 0.5


@asynccontextmanager
async def free_site(sites: Sequence[BuildSite]) -> AsyncIterator[BuildSite]:
    """Yield the first of `sites` whose GPU is free, with that GPU locked; wait while all are in use."""
    async with gpu_lock(*(site.gpu_uuid for site in sites)) as uuid:
        yield next(site for site in sites if site.gpu_uuid == uuid)


@asynccontextmanager
async def gpu_lock(*uuids: str | None) -> AsyncIterator[str | None]:
    """Lock the first free GPU of `uuids` for this task, and yield its UUID; None is always free.

    The lock excludes all processes of this user on this host. The kernel releases it when the process ends,
    however that happens.
    """
    while (taken := _first_free(uuids)) is None:
        report_progress("wait for the GPU", " ".join(map(str, uuids)), 0.0)
        await asyncio.sleep(_POLL_SECONDS)
    uuid, descriptor = taken
    try:
        yield uuid
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _first_free(uuids: Iterable[str | None]) -> tuple[str | None, int | None] | None:
    """Return a GPU and the descriptor of its lock; None if all are locked."""
    for uuid in uuids:
        if uuid is None:
            return None, None
        descriptor = try_lock(f"enginefarm-gpu-{os.getuid()}-{uuid}.lock")
        if descriptor is not None:
            return uuid, descriptor
    return None
