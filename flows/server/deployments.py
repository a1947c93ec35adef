"""The farm's deployments, as data, and their registration on the server."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron, Schedule
from prefect.types.entrypoint import EntrypointType

from agents.server.changes import Action, Change, Plan
from tasks.domain.offer import CPU_POOL
from tasks.domain.priority import Priority

NIGHTLY = Cron("0 3 * * *", timezone="UTC", slug="nightly")
_COMPARED = (
    "entrypoint", "description", "tags", "work_pool_name", "work_queue_name", "parameters",
    "parameter_openapi_schema", "enforce_parameter_schema", "job_variables", "pull_steps",
)  # fmt: skip
_Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class FarmDeployment:
    """One deployment.

    Attributes:
        flow: its flow, as `module:name`.
        name: its name, after that of its flow.
        pool: the work pool of its runs.
        queue: the default work queue of its runs.
        tags: labels for people and filters.
        schedules: its schedules when it is created; operators may change them later.
    """

    flow: str
    name: str = "farm"
    pool: str = CPU_POOL
    queue: Priority = Priority.DEFAULT
    tags: tuple[str, ...] = ("enginefarm",)
    schedules: tuple[Schedule, ...] = ()

    def load(self) -> RunnerDeployment:
        """Return it in Prefect's own form."""
        module, _, name = self.flow.partition(":")
        flow: Flow[..., Any] = getattr(importlib.import_module(module), name)
        return RunnerDeployment.from_flow(
            flow,
            name=self.name,
            entrypoint_type=EntrypointType.MODULE_PATH,
            work_pool_name=self.pool,
            work_queue_name=self.queue,
            tags=list(self.tags),
            schedules=list(self.schedules),
        )


_RELEASE = FarmDeployment(flow="flows.build_release:build_release")
_RECONCILE = FarmDeployment(flow="flows.reconcile:reconcile", queue=Priority.NIGHTLY, schedules=(NIGHTLY,))
_ENGINE = FarmDeployment(flow="flows.build_engine:build_engine")
FARM = tuple(
    deployment for deployment in (_RELEASE, _RECONCILE) if find_spec(deployment.flow.partition(":")[0])
)
"""The deployments of `enginefarm-cpu`, which agents without a GPU serve."""

ENTRYPOINTS = {
    "build-release": "flows.build_release.build_release",
    "reconcile": "flows.reconcile.reconcile",
    "build-engine": "flows.build_engine.build_engine",
}
"""The entry point of each flow that agents run, by the flow's name. Agents run no other flows."""


def in_pool(pool: str, tags: Sequence[str]) -> tuple[FarmDeployment, ...]:
    """Return the deployments of a work pool: one of builds, with `tags`, or those of `enginefarm-cpu`."""
    if pool == CPU_POOL:
        return FARM
    return (replace(_ENGINE, name=pool, pool=pool, tags=("enginefarm", *tags)),)


async def register(client: PrefectClient, pool: str, tags: Sequence[str]) -> Plan:
    """Register the farm's deployments of a work pool that are missing or differ; return what was done."""
    return await Deployments(in_pool(pool, tags)).apply(client)


class Deployments:
    """Deployments of the farm's flows. They stay paused or rescheduled if an operator did that."""

    def __init__(self, wanted: Sequence[FarmDeployment] = FARM) -> None:
        self._wanted = wanted

    async def plan(self, client: PrefectClient) -> Plan:
        """Return what `apply` would do now, without changing anything."""
        return [(await _planned_change(deployment, client))[0] for deployment in self._wanted]

    async def apply(self, client: PrefectClient) -> Plan:
        """Create what is missing and change what differs; return what was done."""
        done = []
        for deployment in self._wanted:
            change, existing, differing = await _planned_change(deployment, client)
            if existing is None:
                await deployment.load().aapply()
            elif differing:
                await client.update_deployment(existing.id, DeploymentUpdate(**differing))
            done.append(change)
        return done


async def _planned_change(
    wanted: FarmDeployment, client: PrefectClient
) -> tuple[Change, DeploymentResponse | None, _Document]:
    """Return the change, the existing deployment and the fields to write."""
    loaded = wanted.load()
    name = f"{loaded.flow_name}/{loaded.name}"
    try:
        existing = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        when = tuple(
            f"schedule {schedule.slug}: {schedule.cron} {schedule.timezone}" for schedule in wanted.schedules
        )
        return Change(kind="deployment", name=name, action=Action.CREATE, details=when), None, {}
    documents = _comparable(loaded), _comparable(existing)
    differing = {key: documents[0][key] for key in _COMPARED if documents[0][key] != documents[1][key]}
    details = tuple(_difference(key, documents[1][key], value) for key, value in differing.items())
    change = Change(
        kind="deployment",
        name=name,
        action=Action.CHANGE if differing else Action.KEEP,
        details=(*details, *_kept(wanted, existing)),
    )
    return change, existing, differing


def _comparable(deployment: RunnerDeployment | DeploymentResponse) -> _Document:
    """Return the fields to compare, in the same form for both kinds."""
    document = deployment.model_dump(mode="json")
    if isinstance(deployment, RunnerDeployment):
        # Workaround (Prefect 3.8.8): the schema that a deployment sends is private. Remove when it is public;
        # in 3.9.1 it is not.
        sent = deployment._parameter_openapi_schema  # noqa: SLF001
        document["parameter_openapi_schema"] = sent.model_dump(mode="json")
    # The server leaves out empty parts of a schema.
    schema = document["parameter_openapi_schema"] or {}
    document["parameter_openapi_schema"] = {key: value for key, value in schema.items() if value}
    document["tags"] = sorted(document["tags"])
    document["pull_steps"] = document.get("pull_steps") or []
    document["job_variables"] = document.get("job_variables") or {}
    return document


def _difference(key: str, old: object, new: object) -> str:
    return f"{key} differs" if isinstance(new, dict | list) else f"{key}: {old} → {new}"


def _kept(wanted: FarmDeployment, existing: DeploymentResponse) -> list[str]:
    """Return what an operator changed and `apply` keeps, for people."""
    lines = ["paused, and stays so"] if existing.paused else []
    schedules = {schedule.slug: schedule for schedule in existing.schedules}
    for declared in wanted.schedules:
        schedule = schedules.get(declared.slug)
        if schedule is None:
            lines.append(f"its schedule {declared.slug} was removed, and stays so")
            continue
        if not schedule.active:
            lines.append(f"its schedule {declared.slug} is paused, and stays so")
        now = schedule.schedule.model_dump(mode="json")
        if (now.get("cron"), now.get("timezone")) != (declared.cron, declared.timezone):
            lines.append(f"its schedule {declared.slug} stays {now.get('cron')} {now.get('timezone')}")
    return lines
