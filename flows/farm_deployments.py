"""The CPU pool, and the deployments that run in it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron, Schedule
from prefect.types.entrypoint import EntrypointType

from flows.changes import Action, Change, Plan
from tasks.domain.offer import CPU_POOL
from tasks.domain.priority import Priority

LOCKED_TEMPLATE = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}
"""With Prefect's own, who reaches the API runs commands on agents through a run's `job_variables`."""

NIGHTLY = Cron("0 3 * * *", timezone="UTC", slug="nightly")
_COMPARED = (
    "entrypoint", "description", "tags", "work_pool_name", "work_queue_name", "parameters",
    "parameter_openapi_schema", "enforce_parameter_schema", "job_variables", "pull_steps",
)  # fmt: skip
_Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FarmDeployment:
    """One deployment named `farm`.

    Attributes:
        flow: where its flow is, `module:name`.
        queue: the work queue of runs that ask for none.
        tags: labels for people and filters.
        schedules: when it runs by itself; given once, then an operator's to change.
    """

    flow: str
    queue: Priority = Priority.DEFAULT
    tags: tuple[str, ...] = ("enginefarm",)
    schedules: tuple[Schedule, ...] = ()

    def load(self) -> RunnerDeployment:
        """Return it in Prefect's own form."""
        module, _, name = self.flow.partition(":")
        flow: Flow[..., Any] = getattr(importlib.import_module(module), name)
        return RunnerDeployment.from_flow(
            flow,
            name="farm",
            entrypoint_type=EntrypointType.MODULE_PATH,
            work_pool_name=CPU_POOL,
            work_queue_name=self.queue,
            tags=list(self.tags),
            schedules=list(self.schedules),
        )


FARM = tuple(
    one
    for one in (
        FarmDeployment(flow="flows.build_release:build_release"),
        FarmDeployment(flow="flows.reconcile:reconcile", queue=Priority.NIGHTLY, schedules=(NIGHTLY,)),
    )
    if find_spec(one.flow.partition(":")[0])
)


class CpuPool:
    """The work pool `enginefarm-cpu` with its queues."""

    async def plan(self, client: PrefectClient) -> Plan:
        """Return what `apply` would do now. Changes nothing."""
        try:
            pool = await client.read_work_pool(CPU_POOL)
        except ObjectNotFound:
            queues = (Change(kind="queue", name=_path(one), action=Action.CREATE) for one in Priority)
            return [Change(kind="pool", name=CPU_POOL, action=Action.CREATE), *queues]
        same = pool.base_job_template == LOCKED_TEMPLATE
        details = () if same else ("its job template is not locked: runs could name commands",)
        action = Action.KEEP if same else Action.CHANGE
        paused = ("paused, and stays so",) if pool.is_paused else ()
        first = Change(kind="pool", name=CPU_POOL, action=action, details=(*details, *paused))
        return [first, *await self._queues(client)]

    async def _queues(self, client: PrefectClient) -> Plan:
        found = {queue.name: queue for queue in await client.read_work_queues(CPU_POOL)}
        changes = []
        for one in Priority:
            queue = found.get(one)
            if queue is None:
                action, details = Action.CREATE, []
            else:
                differs = queue.priority != one.rank
                action = Action.CHANGE if differs else Action.KEEP
                details = [f"priority: {queue.priority} → {one.rank}"] if differs else []
                details += ["paused, and stays so"] if queue.is_paused else []
            changes.append(Change(kind="queue", name=_path(one), action=action, details=tuple(details)))
        return changes

    async def apply(self, client: PrefectClient) -> Plan:
        """Create and change what is missing or differs, and return what was done."""
        plan = await self.plan(client)
        match plan[0].action:
            case Action.CREATE:
                wanted = WorkPoolCreate(name=CPU_POOL, type="process", base_job_template=LOCKED_TEMPLATE)
                await client.create_work_pool(wanted)
            case Action.CHANGE:
                await client.update_work_pool(CPU_POOL, WorkPoolUpdate(base_job_template=LOCKED_TEMPLATE))
            case Action.KEEP:
                pass
        found = {queue.name: queue for queue in await client.read_work_queues(CPU_POOL)}
        for one in Priority:  # in their order: Prefect moves the others down
            queue = found.get(one)
            if queue is None:
                await client.create_work_queue(one, priority=one.rank, work_pool_name=CPU_POOL)
        for queue in await client.read_work_queues(CPU_POOL):
            if queue.name in tuple(Priority) and queue.priority != Priority(queue.name).rank:
                await client.update_work_queue(queue.id, priority=Priority(queue.name).rank)
        return plan


def _path(queue: Priority) -> str:
    return f"{CPU_POOL}/{queue}"


class Deployments:
    """Deployments of the farm's flows. What an operator paused or scheduled otherwise stays."""

    def __init__(self, wanted: Sequence[FarmDeployment] = FARM) -> None:
        self._wanted = wanted

    async def plan(self, client: PrefectClient) -> Plan:
        """Return what `apply` would do now. Changes nothing."""
        return [(await _compared(one, client))[0] for one in self._wanted]

    async def apply(self, client: PrefectClient) -> Plan:
        """Create and change what is missing or differs, and return what was done."""
        done = []
        for one in self._wanted:
            change, found, differing = await _compared(one, client)
            if found is None:
                await one.load().aapply()
            elif differing:
                await client.update_deployment(found.id, DeploymentUpdate(**differing))
            done.append(change)
        return done


async def _compared(
    wanted: FarmDeployment, client: PrefectClient
) -> tuple[Change, DeploymentResponse | None, _Document]:
    """Return the change, what is there, and the fields to write."""
    own = wanted.load()
    name = f"{own.flow_name}/{own.name}"
    try:
        found = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        when = tuple(f"schedule {one.slug}: {one.cron} {one.timezone}" for one in wanted.schedules)
        return Change(kind="deployment", name=name, action=Action.CREATE, details=when), None, {}
    documents = _document(own), _document(found)
    differing = {key: documents[0][key] for key in _COMPARED if documents[0][key] != documents[1][key]}
    details = tuple(_difference(key, documents[1][key], value) for key, value in differing.items())
    change = Change(
        kind="deployment",
        name=name,
        action=Action.CHANGE if differing else Action.KEEP,
        details=(*details, *_kept(wanted, found)),
    )
    return change, found, differing


def _document(deployment: RunnerDeployment | DeploymentResponse) -> _Document:
    """Return what is compared, in one form for both."""
    document = deployment.model_dump(mode="json")
    if isinstance(deployment, RunnerDeployment):
        schema = deployment._parameter_openapi_schema  # noqa: SLF001 (what it sends; there is no other way)
        document["parameter_openapi_schema"] = schema.model_dump(mode="json")
    document["tags"] = sorted(document["tags"])
    document["pull_steps"] = document.get("pull_steps") or []
    document["job_variables"] = document.get("job_variables") or {}
    return document


def _difference(key: str, old: object, new: object) -> str:
    return f"{key} differs" if isinstance(new, dict | list) else f"{key}: {old} → {new}"


def _kept(wanted: FarmDeployment, found: DeploymentResponse) -> list[str]:
    """Return what an operator changed, and keeps."""
    lines = ["paused, and stays so"] if found.paused else []
    there = {one.slug: one for one in found.schedules}
    for own in wanted.schedules:
        schedule = there.get(own.slug)
        if schedule is None:
            lines.append(f"its schedule {own.slug} was taken away, and stays so")
            continue
        if not schedule.active:
            lines.append(f"its schedule {own.slug} is paused, and stays so")
        now = schedule.schedule.model_dump(mode="json")
        if (now.get("cron"), now.get("timezone")) != (own.cron, own.timezone):
            lines.append(f"its schedule {own.slug} stays {now.get('cron')} {now.get('timezone')}")
    return lines
