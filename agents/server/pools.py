"""Work pools, from which agents take runs. Their job template does not let a run choose what is executed."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import Worker, WorkerStatus, WorkPool
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from agents.server.changes import Action, Change, Plan
from agents.server.clock import server_now
from tasks.domain.errors import PoolUnsafe
from tasks.domain.offer import CPU_POOL
from tasks.domain.printable import printable_name
from tasks.domain.priority import Priority

LOCKED_TEMPLATE = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}
"""With Prefect's own template, whoever reaches the API can run commands on agents, by `job_variables`."""

POOL_TYPE = "process"
_NAME = re.compile(rf"{CPU_POOL}|(gpu-.+|rtx)-trt[0-9].*")
_PAGE = 200
_MISSED_BEATS = 3
_USUAL_BEAT = 30  # seconds


def is_farm_pool(name: str) -> bool:
    """Return whether a pool called `name` is one that agents of the farm create."""
    return _NAME.fullmatch(name) is not None


def agent_for(pool: str) -> str:
    """Return the command that starts an agent for `pool`, for people."""
    return "enginefarm agent gpu" if pool.startswith("gpu-") else "enginefarm agent cpu"


def is_online(worker: Worker, now: datetime) -> bool:
    """Return whether `worker` sends heartbeats; the status that the server reports lags behind.

    Args:
        worker: as the server reports it.
        now: the server's time, see `server_now`.
    """
    seen = worker.last_heartbeat_time
    silent = timedelta(seconds=_MISSED_BEATS * (worker.heartbeat_interval_seconds or _USUAL_BEAT))
    return worker.status == WorkerStatus.ONLINE and seen is not None and now - seen < silent


async def workers_online(client: PrefectClient, pool: str) -> set[str]:
    """Return the names of the workers of `pool` that are online; none if the server has no such pool."""
    try:
        workers = await client.read_workers_for_work_pool(pool)
    except ObjectNotFound:
        return set()
    now = await server_now(client)
    return {worker.name for worker in workers if is_online(worker, now)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmPool:
    """A work pool with its queues.

    Attributes:
        name: its name.
    """

    name: str

    async def plan(self, client: PrefectClient) -> Plan:
        """Return what `apply` would do now, without changing anything."""
        pool = await _pool_if_exists(client, self.name)
        if pool is None:
            paths = map(self._path, Priority)
            queues = (Change(kind="queue", name=path, action=Action.CREATE) for path in paths)
            return [Change(kind="pool", name=self.name, action=Action.CREATE), *queues]
        action = Action.KEEP if _is_locked(pool) else Action.CHANGE
        details = () if _is_locked(pool) else ("its job template is not locked: runs could name commands",)
        paused = ("paused, and stays so",) if pool.is_paused else ()
        first = Change(kind="pool", name=self.name, action=action, details=(*details, *paused))
        return [first, *await self._queues(client)]

    async def _queues(self, client: PrefectClient) -> Plan:
        queues = {queue.name: queue for queue in await client.read_work_queues(self.name)}
        changes = []
        for priority in Priority:
            queue = queues.get(priority)
            if queue is None:
                action, details = Action.CREATE, []
            else:
                differs = queue.priority != priority.rank
                action = Action.CHANGE if differs else Action.KEEP
                details = [f"priority: {queue.priority} → {priority.rank}"] if differs else []
                details += ["paused, and stays so"] if queue.is_paused else []
            path = self._path(priority)
            changes.append(Change(kind="queue", name=path, action=action, details=tuple(details)))
        return changes

    async def apply(self, client: PrefectClient) -> Plan:
        """Create what is missing and change what differs; return what was done.

        Safe while other processes do the same.
        """
        plan = await self.plan(client)
        match plan[0].action:
            case Action.CREATE:
                wanted = WorkPoolCreate(name=self.name, type=POOL_TYPE, base_job_template=LOCKED_TEMPLATE)
                with suppress(ObjectAlreadyExists):
                    await client.create_work_pool(wanted)
            case Action.CHANGE:
                await client.update_work_pool(self.name, WorkPoolUpdate(base_job_template=LOCKED_TEMPLATE))
            case Action.KEEP:
                pass
        names = {queue.name for queue in await client.read_work_queues(self.name)}
        # Workaround (Prefect 3.8.8): a new queue shifts the priorities of the others, so they are created in
        # order and corrected afterwards. Remove when a queue can be created without changing others; 3.9.1
        # shifts them, too.
        for priority in Priority:
            if priority not in names:
                with suppress(ObjectAlreadyExists):
                    await client.create_work_queue(priority, priority=priority.rank, work_pool_name=self.name)
        for queue in await client.read_work_queues(self.name):
            if queue.name in tuple(Priority) and queue.priority != Priority(queue.name).rank:
                await client.update_work_queue(queue.id, priority=Priority(queue.name).rank)
        return plan

    async def ensure(self, client: PrefectClient) -> Plan:
        """Do as `apply`, for an agent that will take runs from the pool.

        Raises:
            PoolUnsafe: the pool exists, and an agent may not take runs from it.
        """
        pool = await _pool_if_exists(client, self.name)
        if pool is not None:
            self._require_safe(pool)
        done = await self.apply(client)
        self._require_safe(await client.read_work_pool(self.name))
        return done

    def _require_safe(self, pool: WorkPool) -> None:
        wanted = f"a work pool {self.name} whose job template lets no run name commands"
        if pool.type != POOL_TYPE:
            raise PoolUnsafe(
                wanted=wanted,
                found=f"a pool of the type {printable_name(pool.type)}",
                fix="delete the pool: the agent creates it correctly",
            )
        if not _is_locked(pool):
            raise PoolUnsafe(
                wanted=wanted,
                found="another template than the farm's: whoever reaches the API could run commands here",
                fix="find out who created the pool, then lock it with `enginefarm deploy`",
            )

    def _path(self, queue: Priority) -> str:
        return f"{self.name}/{queue}"


class KnownPools:
    """The pool `enginefarm-cpu`, and all pools for builds that agents have created so far."""

    async def plan(self, client: PrefectClient) -> Plan:
        """Return what `apply` would do now, without changing anything."""
        return [change for pool in await _pools(client) for change in await pool.plan(client)]

    async def apply(self, client: PrefectClient) -> Plan:
        """Create what is missing and change what differs; return what was done."""
        return [change for pool in await _pools(client) for change in await pool.apply(client)]


async def _pools(client: PrefectClient) -> list[FarmPool]:
    names = {pool.name for pool in await client.read_work_pools(limit=_PAGE) if is_farm_pool(pool.name)}
    return [FarmPool(name=CPU_POOL), *(FarmPool(name=name) for name in sorted(names - {CPU_POOL}))]


async def _pool_if_exists(client: PrefectClient, name: str) -> WorkPool | None:
    try:
        return await client.read_work_pool(name)
    except ObjectNotFound:
        return None


def _is_locked(pool: WorkPool) -> bool:
    return pool.base_job_template == LOCKED_TEMPLATE


def advice(pool: str, release: object = "RUN") -> str:
    """Return what a person can do about builds of the run `release` in `pool`, if no agent serves it."""
    return (
        f"Start the agent that serves it: `{agent_for(pool)}` on a host with the GPU and TensorRT in the "
        f"pool's name. If TensorRT was upgraded or the GPU removed, run `enginefarm agent withdraw {pool}`, "
        f"then `enginefarm retry {release}`, which selects from the current agents."
    )
