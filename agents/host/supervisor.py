"""The agent's own process: it keeps a worker at each place of the host, and ends them when it is told to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect.client.orchestration import PrefectClient

from agents.health import Health, Report
from agents.host.host import Host
from agents.host.keeper import Keeper
from agents.host.seats import Seat
from agents.processes import adopt_orphans
from agents.worker.lost_runs import sweep_runs
from tasks.domain.errors import FarmError

_LOG = logging.getLogger(__name__)
_SWEEP_SECONDS = 20.0
_RENEW_SECONDS = 3600.0
_HAND_BACK_SECONDS = 20.0


@dataclass(kw_only=True)
class Supervisor:
    """One agent.

    Attributes:
        host: what its workers share.
        flows: where the code of each flow is that workers run, by the flow's name.
        environment: of workers.
        drain_seconds: how long runs may take to end once the agent is told to end.
        health: where it says how it is.
        beside: what else this agent does, until it is cancelled.
    """

    host: Host
    flows: Mapping[str, str]
    environment: Mapping[str, str]
    drain_seconds: float
    health: Health
    beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    _told: int = field(default=0, init=False)
    _word: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _keepers: list[Keeper] = field(default_factory=list, init=False)

    def tell(self) -> None:
        """Let the agent end: after its runs the first time, at once the second time."""
        self._told += 1
        self._word.set()

    async def run(self) -> bool:
        """Serve the host until told to end; return whether all runs ended or were handed back.

        Raises:
            FarmError: what keeps the agent from starting, and a person has to change.
        """
        adopt_orphans()
        self._keepers = [
            Keeper(
                place=place,
                host=self.host,
                flows=self.flows,
                environment=self.environment,
                end_orphans=self._end_orphans,
            )
            for place in self.host.found
        ]
        keeping = {asyncio.create_task(one.keep()): one for one in self._keepers}
        others = [asyncio.create_task(one) for one in self._services()]
        try:
            word = asyncio.create_task(self._wait())
            await asyncio.wait([word, *keeping, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in (*keeping, *others):
                if task.done():
                    task.result()  # none ends by itself but by an error
            return await self._end(keeping)
        finally:
            for task in (*keeping, *others):
                task.cancel()
            await asyncio.gather(*keeping, *others, return_exceptions=True)
            await self._end_orphans()

    def _services(self) -> list[Coroutine[Any, Any, None]]:
        beside = [one() for one in self.beside]
        return [self._renew(), self._sweep(), self.health.show(self.report), *beside]

    async def _wait(self) -> None:
        await self._word.wait()

    async def _end(self, keeping: Mapping[asyncio.Task[None], Keeper]) -> bool:
        _LOG.info("ends; what runs has %.0f s", self.drain_seconds)
        self._word.clear()
        for task, keeper in keeping.items():
            if not keeper.drain():
                task.cancel()
        if self._told == 1:
            word = asyncio.create_task(self._wait())
            drained = asyncio.create_task(_all(keeping))
            await asyncio.wait(
                [word, drained], timeout=self.drain_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for task in (word, drained):
                task.cancel()
        try:
            async with asyncio.timeout(_HAND_BACK_SECONDS):
                await asyncio.gather(*(keeper.end() for keeper in keeping.values()))
        except Exception as error:  # noqa: BLE001 (the agent ends all the same)
            _LOG.warning("the server was not told of runs that were ended: %r", error)
            return False
        return True

    def report(self) -> Report:
        """Return how the agent is."""
        workers = {
            keeper.seat.worker if keeper.seat else keeper.place.label: {"state": keeper.state, **keeper.beat}
            for keeper in self._keepers
        }
        return Report(well=all(keeper.well for keeper in self._keepers), workers=workers)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            for keeper in self._keepers:
                if keeper.seat is not None and keeper.process is not None:
                    await _try(self.host.announce(keeper.seat))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            await self._end_orphans()
            for keeper in self._keepers:
                if keeper.seat is not None and keeper.well:
                    await _try(self._sweep_runs(keeper.seat))

    async def _sweep_runs(self, seat: Seat) -> None:
        async def do(client: PrefectClient) -> None:
            await sweep_runs(client, seat.pool, seat.worker)

        await self.host.on_server(do)

    async def _end_orphans(self) -> None:
        await self.host.end_orphans(one.process.pid for one in self._keepers if one.process is not None)


async def _all(tasks: Iterable[asyncio.Task[None]]) -> None:
    await asyncio.wait(tuple(tasks))


async def _try(what: Awaitable[Any]) -> None:
    """Do what is done again later; nothing that goes wrong there may end an agent's builds.

    A proxy may answer anything while its server starts again, and a run may be deleted meanwhile.
    """
    try:
        await what
    except FarmError as error:
        _LOG.warning("%s", error)
    except Exception as error:  # noqa: BLE001 (as above)
        _LOG.warning("tried again later: %s: %s", type(error).__name__, error)
