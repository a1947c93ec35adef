"""What the workers of an agent share: looks at the host, the farm's server, the store, the end of orphans."""

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

from agents.host.seats import Place, Seat, seat_at
from agents.processes import end_children, try_lock
from agents.server.changes import Action
from agents.server.pools import FarmPool, workers_online
from tasks.children.workspace import Workspace
from tasks.domain.errors import FarmError, TargetUnavailable
from tasks.domain.farm_errors import AgentRunning
from tasks.domain.offer import Announcement
from tasks.store.announcements import announce, withdraw
from tasks.store.store import Store
from tasks.tensorrt.toolchain import probe_toolchain

_LOG = logging.getLogger(__name__)
_ORPHAN_SECONDS = 0.02


@dataclass(frozen=True, kw_only=True)
class Host:
    """This host, as an agent serves it.

    Attributes:
        name: what it is called in the names of its workers.
        store: where it announces what it builds.
        connect: gives a client of the farm's server, or raises a FarmError.
        register: registers what the farm has in the pool of a seat.
        found: what the first look found at each place.
        workspace: gives a probe its folder and limits.
        forking: held while a process is started or looked after that no worker started.
    """

    name: str
    store: Store
    connect: Callable[[], AbstractAsyncContextManager[PrefectClient]]
    register: Callable[[PrefectClient, Seat], Awaitable[object]]
    found: Mapping[Place, Seat]
    workspace: Callable[[], AbstractContextManager[Workspace]]
    forking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _preparing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _served: dict[Place, Seat] = field(default_factory=dict, init=False)

    async def find(self, place: Place, *, afresh: bool) -> Seat:
        """Return the worker that belongs to `place`; with `afresh` the host is looked at again.

        Raises:
            FarmError: nothing works there now.
        """
        if not afresh:
            return self.found[place]
        probe = None
        if place.toolchain is not None:
            with self.workspace() as work:
                async with self.forking:
                    probe = await probe_toolchain(place.toolchain, work=work)
        seat = seat_at(place, probe, host=self.name)
        if seat is None:
            raise TargetUnavailable(
                wanted=f"the GPU {place.gpu_uuid}",
                found="it is gone",
                fix="look at it with nvidia-smi; the agent goes on once it is back",
            )
        return seat

    async def prepare(self, seat: Seat, *, before: Seat | None) -> None:
        """Make pool and deployments, and announce; take back what the place was `before`, if it was another.

        Raises:
            FarmError: server or store do not answer, or the pool is not safe.
        """

        async def on_server(client: PrefectClient) -> None:
            for change in await FarmPool(name=seat.pool).ensure(client):
                if change.action is not Action.KEEP:
                    _LOG.info("%s %s: %s", change.kind, change.name, change.action)
            await self.register(client, seat)

        async with self._preparing:  # several places may have one pool
            await self.on_server(on_server)
        self._served[seat.place] = seat
        await self.announce(seat)
        if before is not None and before.pool != seat.pool:
            _LOG.warning("%s: what was %s is %s now", seat.place.label, before.pool, seat.pool)
            await self._take_back(before.pool, before.worker)

    async def announce(self, seat: Seat) -> None:
        """Say in the store that `seat` is served now, and no more what its place was before an upgrade.

        Raises:
            FarmError: as `s3_errors`.
        """
        if seat.offer is None:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        announcement = Announcement(pool=seat.pool, offer=seat.offer, host=self.name, seen=now)
        await asyncio.to_thread(announce, self.store, announcement)
        await self._take_back_former(seat)

    async def _take_back_former(self, seat: Seat) -> None:
        """Take back what this host announced of the place of `seat` before its toolchain was replaced."""
        with contextlib.suppress(FarmError):  # the next announcement tries again
            announced = await asyncio.to_thread(lambda: tuple(self.store.records(Announcement)))
            served = {one.pool for one in {**self.found, **self._served}.values()}
            for pool in {one.pool for one in announced if one.host == self.name} - served:
                await self._take_back(pool, replace(seat, pool=pool).worker, known=True)

    async def _take_back(self, pool: str, worker: str, *, known: bool = False) -> None:
        """Announce `pool` no more, unless others serve it; if `known`, only if `worker` ever did."""

        async def is_ours(client: PrefectClient) -> bool:
            if known and worker not in {one.name for one in await client.read_workers_for_work_pool(pool)}:
                return False
            return not await workers_online(client, pool) - {worker}

        with contextlib.suppress(FarmError, ObjectNotFound):
            if await self.on_server(is_ours):
                _LOG.warning("%s: nobody here builds for it any more, and it is announced no more", pool)
                await asyncio.to_thread(withdraw, self.store, pool)

    async def end_orphans(self, workers: Iterable[int]) -> None:
        """Return once nothing lives that another worker started than those with the process ids `workers`."""
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
def only_agent(name: str, places: Iterable[Place]) -> Iterator[None]:
    """Be the only agent on this host that is called `name` and has workers at `places`.

    Two would take each other's runs for lost.

    Raises:
        AgentRunning: there is one.
    """
    with ExitStack() as held:
        for label in sorted({place.label for place in places}):
            descriptor = try_lock(f"enginefarm-agent-{os.getuid()}-{name}-{label}.lock")
            if descriptor is None:
                raise AgentRunning(
                    wanted=f"to serve {label} as {name}",
                    found="an agent that does so",
                    fix="end that one, or give this one another --name",
                )
            held.callback(os.close, descriptor)
        yield
