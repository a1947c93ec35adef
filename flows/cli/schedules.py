"""Checks that the farm's Prefect server plans the runs of the farm's schedules."""

from __future__ import annotations

from datetime import datetime, timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort

from agents.server.clock import server_now
from flows.cli.findings import Finding, Level
from flows.server.client import farm_client
from tasks.domain.errors import FarmError
from tasks.domain.offer import CPU_POOL

_SUBJECT = "Schedules"
_PLANS_WITHIN = timedelta(minutes=3)
"""Prefect's server plans runs every minute, so a schedule of this age must have one."""


async def check_schedules() -> Finding:
    """Check that every schedule of the farm has a planned run; never raises `FarmError`."""
    try:
        async with farm_client() as client:
            return await schedules(client)
    except FarmError as error:
        return Finding(subject=_SUBJECT, level=Level.ABSENT, text=f"not seen: {error.found}", fix=error.fix)


async def schedules(client: PrefectClient, *, within: timedelta = _PLANS_WITHIN) -> Finding:
    """Check that the server has planned a run for every schedule that is older than `within`."""
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[CPU_POOL]))
    deployments = await client.read_deployments(work_pool_filter=pool)
    scheduled = [each for each in deployments if not each.paused and _since(each)]
    now = await server_now(client)
    planned = {each.id: await _next(client, each, now) for each in scheduled}
    forgotten = [each for each in scheduled if planned[each.id] is None and min(_since(each)) < now - within]
    # Workaround (Prefect 3.8.8): with SQLAlchemy 2.1 its scheduler plans nothing. Remove the advice when it
    # works.
    if forgotten:
        names = [f"{(await client.read_flow(each.flow_id)).name}/{each.name}" for each in forgotten]
        return Finding(
            subject=_SUBJECT,
            level=Level.BROKEN,
            text=f"the server has planned no run of {', '.join(sorted(names))}",
            fix="see the scheduler's errors in the server's log; with Prefect 3.8, the scheduler fails if "
            "SQLAlchemy 2.1 is installed: install 'sqlalchemy<2.1'",
        )
    if not scheduled:
        return Finding(
            subject=_SUBJECT, level=Level.ABSENT, text="none", fix="`enginefarm deploy` schedules reconcile"
        )
    times = sorted(time for time in planned.values() if time is not None)
    text = f"next run at {times[0]:%Y-%m-%d %H:%M} UTC" if times else "made just now, planned soon"
    return Finding(subject=_SUBJECT, level=Level.FINE, text=text)


def _since(deployment: DeploymentResponse) -> list[datetime]:
    """Return when each active schedule last changed. Polling workers update the deployment, not these."""
    return [each.updated for each in deployment.schedules if each.active and each.updated]


async def _next(client: PrefectClient, deployment: DeploymentResponse, now: datetime) -> datetime | None:
    later = FlowRunFilterExpectedStartTime.model_validate({"after_": now})
    runs = await client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=FlowRunFilter(expected_start_time=later),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=1,
    )
    return runs[0].expected_start_time if runs else None
