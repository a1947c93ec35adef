"""The last runs of the farm, whoever or whatever started them."""

from __future__ import annotations

from datetime import UTC

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from agents.server.clock import server_now
from agents.server.flow_runs import release_of
from flows.server.view import ListedRun

_WAY = "way:"
_STARTED_BY_HAND = "UI or API"


async def recent_runs(client: PrefectClient, *, limit: int) -> tuple[ListedRun, ...]:
    """Return the last runs of `build-release` and `reconcile`, the newest first.

    Raises:
        FarmError: as `farm_client`.
    """
    due = FlowRunFilterExpectedStartTime.model_validate({"before_": await server_now(client)})
    runs = await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["build-release", "reconcile"])),
        flow_run_filter=FlowRunFilter(expected_start_time=due),  # without what a schedule plans
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=limit,
    )
    return tuple(map(_listed, runs))


def _listed(run: FlowRun) -> ListedRun:
    started, release = run.start_time or run.expected_start_time, release_of(run.parameters)
    return ListedRun(
        id=str(run.id),
        name=run.name,
        state=run.state_name or "",
        release=release.url if release else "",
        way=_way_of(run),
        started=started.astimezone(UTC).isoformat(timespec="seconds") if started else "",
        seconds=run.total_run_time.total_seconds(),
        text=(run.state.message or "") if run.state and not run.state.is_completed() else "",
    )


def _way_of(run: FlowRun) -> str:
    """Return what started `run`: s3, submit, command or schedule."""
    ways = [tag.removeprefix(_WAY) for tag in run.tags if tag.startswith(_WAY)]
    if ways:
        return ways[0]
    return "schedule" if run.auto_scheduled else _STARTED_BY_HAND
