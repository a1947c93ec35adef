"""What an agent's workers share: probes of the host, the farm's server, the store, cleanup of orphans."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound

from agents.host.slots import WorkerSlot, WorkerSpec, spec_at
from agents.processes import end_children, try_lock
from agents.server.changes import Action
from agents.server.pools import FarmPool, workers_online
from tasks.children.workspace import Workspace
from tasks.domain.errors import AgentRunning, FarmError, TargetUnavailable
from tasks.domain.offer import Announcement
from tasks.store.announcements import announce, withdraw
from tasks.store.store import Store
from tasks.tensorrt.toolchain import probe_toolchain

_LOG = logging.getLogger(__name__)
_ORPHAN_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class AgentContext:
    """What an agent knows of its host, and how its workers reach the server and the store.

    Attributes:
        name: the host's name in the names of its workers.
        store: where the agent announces what it builds.
        connect: opens a client of the farm's server, or raises a FarmError.
        register: registers the farm's deployments in the pool of a worker.
        first_specs: the worker of each slot by the first probe.
        workspace: gives a probe its folder and limits.
        forking: locked while the agent itself starts a process, so that it is not taken for an orphan.
    """

    name: str
    store: Store
    connect: Callable[[], AbstractAsyncContextManager[PrefectClient]]
    register: Callable[[PrefectClient, WorkerSpec], Awaitable[object]]
    first_specs: Mapping[WorkerSlot, WorkerSpec]
    workspace: Callable[[], AbstractContextManager[Workspace]]
    forking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _preparing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _served: dict[WorkerSlot, WorkerSpec] = field(default_factory=dict, init=False)

    async def find(self, slot: WorkerSlot, *, probe_again: bool) -> WorkerSpec:
        """Return the worker for `slot`; with `probe_again`, probe the toolchain first.

        Raises:
            FarmError: nothing works in the slot now.
        """
        if not probe_again:
            return self.first_specs[slot]
        probe = None
        if slot.toolchain is not None:
            with self.workspace() as work:
                async with self.forking:
                    probe = await probe_toolchain(slot.toolchain, work=work)
        spec = spec_at(slot, probe, host=self.name)
        if spec is None:
            raise TargetUnavailable(
                wanted=f"the GPU {slot.gpu_uuid}",
                found="the GPU is no longer there",
                fix="check it with nvidia-smi; the agent continues once it is back",
            )
        return spec

    async def prepare(self, spec: WorkerSpec, *, before: WorkerSpec | None) -> None:
        """Create the pool and deployments and announce the pool; withdraw the pool `before`, if it differs.

        Raises:
            FarmError: the server or the store does not answer, or the pool is not safe.
        """

        async def on_server(client: PrefectClient) -> None:
            for change in await FarmPool(name=spec.pool).ensure(client):
                if change.action is not Action.KEEP:
                    _LOG.info("%s %s: %s", change.kind, change.name, change.action)
            await self.register(client, spec)

        async with self._preparing:  # several slots may share a pool
            await self.on_server(on_server)
        self._served[spec.slot] = spec
        await self.announce(spec)
        if before is not None and before.pool != spec.pool:
            _LOG.warning("%s: the pool was %s and is now %s", spec.slot.label, before.pool, spec.pool)
            await self._withdraw(before.pool, before.worker)

    async def announce(self, spec: WorkerSpec) -> None:
        """Announce in the store that `spec` is served; withdraw what its slot served before an upgrade.

        Raises:
            FarmError: as `s3_errors`.
        """
        if spec.offer is None:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        announcement = Announcement(pool=spec.pool, offer=spec.offer, host=self.name, seen=now)
        await asyncio.to_thread(announce, self.store, announcement)
        await self._withdraw_former(spec)

    async def _withdraw_former(self, spec: WorkerSpec) -> None:
        """Withdraw what this host announced for the slot of `spec` before its toolchain was replaced."""
        with contextlib.suppress(FarmError):  # the next announcement tries again
            announced = await asyncio.to_thread(lambda: tuple(self.store.records(Announcement)))
            served = {spec.pool for spec in {**self.first_specs, **self._served}.values()}
            for pool in {entry.pool for entry in announced if entry.host == self.name} - served:
                await self._withdraw(pool, replace(spec, pool=pool).worker, if_served=True)

    async def _withdraw(self, pool: str, worker: str, *, if_served: bool = False) -> None:
        """Withdraw `pool`, unless other workers serve it; with `if_served`, only if `worker` ever did."""

        async def is_ours(client: PrefectClient) -> bool:
            workers = await client.read_workers_for_work_pool(pool)
            if if_served and worker not in {served.name for served in workers}:
                return False
            return not await workers_online(client, pool) - {worker}

        with contextlib.suppress(FarmError, ObjectNotFound):
            if await self.on_server(is_ours):
                _LOG.warning("%s: withdrawn, because nothing on this host builds for it now", pool)
                await asyncio.to_thread(withdraw, self.store, pool)

    async def end_orphans(self, workers: Iterable[int]) -> None:
        """Kill orphans of dead workers; return once only processes of the living `workers` (ids) are left."""
        async with self.forking:
            living = set(workers)
            while end_children(but=living):  # noqa: ASYNC110 (the kernel has no event for it)
                await asyncio.sleep(_ORPHAN_SECONDS)

    async def on_server(self, do: Callable[[PrefectClient], Awaitable[Any]]) -> Any:
        """Return what `do` returns with a client of the farm's server.

        Raises:
            FarmError: it does not answer.
        """
        async with self.connect() as client:
            return await do(client)


@contextmanager
def only_agent(name: str, slots: Iterable[WorkerSlot]) -> Iterator[None]:
    """Ensure that this is the only agent on this host called `name` with workers in `slots`.

    Two agents would treat each other's runs as lost.

    Raises:
        AgentRunning: another agent has this name and one of these slots.
    """
    with ExitStack() as locks:
        for label in sorted({slot.label for slot in slots}):
            descriptor = try_lock(f"enginefarm-agent-{os.getuid()}-{name}-{label}.lock")
            if descriptor is None:
                raise AgentRunning(
                    wanted=f"to serve {label} as {name}",
                    found="another agent of this name that serves it already",
                    fix="stop the other agent, or give this agent another --name",
                )
            locks.callback(os.close, descriptor)
        yield
