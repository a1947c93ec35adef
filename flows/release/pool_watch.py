"""Watches work pools without agents while builds wait in them: warns on the release's page, then gives up."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field

from prefect import get_run_logger, runtime
from prefect.client.orchestration import PrefectClient

from agents.server.pools import advice, workers_online
from tasks.domain.errors import TargetUnavailable
from tasks.domain.markdown import Markdown, markdown
from tasks.page import add_text, shown_if_possible
from tasks.store.announcements import announced_pools
from tasks.store.store import Store

_LOOK_SECONDS = 10.0
_GONE_SECONDS = 30.0
_DESCRIPTION = Markdown("Work pools without agents in which builds wait")


@dataclass(kw_only=True)
class PoolWatch:
    """Checks that agents serve the pools in which builds of one release wait.

    Attributes:
        client: of the farm's server.
        store: URL of the store where agents announce their pools.
        patience: how long a release waits for an agent of a pool without agents, in seconds.
    """

    client: PrefectClient
    store: str
    patience: float
    _checked: dict[str, float] = field(default_factory=dict, init=False)
    _unserved: dict[str, float] = field(default_factory=dict, init=False)
    _announced: frozenset[str] = field(default=frozenset(), init=False)
    _shown: frozenset[str] = field(default=frozenset(), init=False)

    async def require_agents(self, pool: str) -> None:
        """Check every few seconds that an agent serves `pool`; if none does, this run's page says so.

        A pool that is no longer announced is given up soon: its TensorRT or its GPU was replaced.

        Raises:
            TargetUnavailable: no agent has served the pool for too long.
            FarmError: as `s3_errors`.
        """
        if time.monotonic() - self._checked.get(pool, -math.inf) > _LOOK_SECONDS:
            self._checked[pool] = time.monotonic()
            await self._check_agents(pool)
        unserved = time.monotonic() - self._unserved.get(pool, math.inf)
        announced = pool in self._announced
        if unserved > (self.patience if announced else _GONE_SECONDS):
            state = "it is announced" if announced else "it is no longer announced"
            raise TargetUnavailable(
                wanted=f"an agent that takes runs from the work pool {pool}",
                found=f"none online for {unserved:.0f} s, and {state} in {self.store}",
                fix=advice(pool, runtime.flow_run.id),
            )

    async def _check_agents(self, pool: str) -> None:
        if await workers_online(self.client, pool):
            self._unserved.pop(pool, None)
        else:
            self._announced = await asyncio.to_thread(announced_pools, Store.connect(self.store))
            self._unserved.setdefault(pool, time.monotonic())
        if frozenset(self._unserved) != self._shown:
            self._shown = frozenset(self._unserved)
            await self._show_unserved()

    async def _show_unserved(self) -> None:
        """List the unserved pools on this run's page. An error of Prefect's server must not fail a build."""
        run = runtime.flow_run.id
        lines = {pool: f"no agent is online. {advice(pool, run)}" for pool in sorted(self._unserved)}
        served = "All work pools that builds wait in have agents."
        get_run_logger().warning("%s", "\n".join(f"{pool}: {line}" for pool, line in lines.items()) or served)
        items = "\n".join(markdown("- {pool}: {line}", pool=pool, line=line) for pool, line in lines.items())
        with shown_if_possible("the waiting pools"):
            await add_text("waiting", Markdown(items or served), _DESCRIPTION)
