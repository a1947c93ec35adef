"""Work pools that builds wait in and nobody serves: the page of their release says so, and it has an end."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field

from prefect import get_run_logger, runtime
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import PrefectClient

from agents.server.pools import advice, workers_online
from tasks.domain.errors import TargetUnavailable
from tasks.store.announcements import announced_pools
from tasks.store.store import Store

_LOOK_SECONDS = 10.0
_GONE_SECONDS = 30.0


@dataclass(kw_only=True)
class PoolWatch:
    """Looks whether agents serve the pools that builds of one release wait in.

    Attributes:
        client: of the farm's server.
        store: the URL of the store, where agents announce their pools.
        patience: how long a release waits for an agent of a pool that has none, in seconds.
    """

    client: PrefectClient
    store: str
    patience: float
    _looked: dict[str, float] = field(default_factory=dict, init=False)
    _alone: dict[str, float] = field(default_factory=dict, init=False)
    _announced: frozenset[str] = field(default=frozenset(), init=False)
    _shown: frozenset[str] = field(default=frozenset(), init=False)

    async def require_agents(self, pool: str) -> None:
        """Look whether an agent serves `pool`, every few seconds; this run's page says so where none does.

        A pool that is announced no more is given up soon: its TensorRT was replaced, or its GPU is gone.

        Raises:
            TargetUnavailable: none does, and waiting for one has no end.
            FarmError: as `s3_errors`.
        """
        if time.monotonic() - self._looked.get(pool, -math.inf) > _LOOK_SECONDS:
            self._looked[pool] = time.monotonic()
            await self._look(pool)
        alone = time.monotonic() - self._alone.get(pool, math.inf)
        announced = pool in self._announced
        if alone > (self.patience if announced else _GONE_SECONDS):
            said = f"announced in {self.store}" if announced else f"announced in {self.store} any more"
            raise TargetUnavailable(
                wanted=f"an agent that takes runs from the work pool {pool}",
                found=f"none online for {alone:.0f} s, and {'it is' if announced else 'it is not'} {said}",
                fix=advice(pool, runtime.flow_run.id),
            )

    async def _look(self, pool: str) -> None:
        if await workers_online(self.client, pool):
            self._alone.pop(pool, None)
        else:
            self._announced = await asyncio.to_thread(announced_pools, Store.connect(self.store))
            self._alone.setdefault(pool, time.monotonic())
        if frozenset(self._alone) != self._shown:
            self._shown = frozenset(self._alone)
            await self._show()

    async def _show(self) -> None:
        """Write it on this run's page. What Prefect's server answers must not cost a build."""
        own = runtime.flow_run.id
        lines = [f"- `{pool}`: no agent is online. {advice(pool, own)}" for pool in sorted(self._alone)]
        text = "\n".join(lines) or "All work pools that builds wait in have agents."
        get_run_logger().warning("%s", text)
        try:
            await acreate_markdown_artifact(key="waiting", markdown=text)
        except Exception as error:  # noqa: BLE001 (see above)
            get_run_logger().warning("it could not be shown: %s", error)
