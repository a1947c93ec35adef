"""The nightly flow: starts builds of the engines that are missing in S3."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated
from uuid import UUID

from prefect import flow, get_run_logger, runtime
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from pydantic import Field

from agents.server.flow_runs import all_flow_runs, release_of
from agents.server.release_runs import release_deployment, start_release
from flows.addresses import place_at
from flows.pages.run import link_to
from flows.release.missing_cells import ListedRelease, ReleaseNeeds, in_turn, needs_of, releases_below, rows
from flows.server.flow_errors import fails_with_its_error
from flows.server.variables import RELEASES, places_of_releases
from flows.settings import settings
from tasks.domain.errors import FarmError, RequestInvalid, StoreUnreachable
from tasks.domain.markdown import Markdown
from tasks.domain.overrides import Overrides
from tasks.domain.priority import Priority
from tasks.domain.release import ReleaseRef
from tasks.domain.release_place import ReleasePlace
from tasks.page import add_table
from tasks.store.patience import be_patient, retry_while_s3_is_down

_ACTIVE = [
    StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING,
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What was done about one place or release.

    Attributes:
        url: URL of the place or release.
        lacks: what it lacks, one line each.
        done: what was done, for people.
        run: the run that was started for it, if any.
    """

    url: str
    lacks: tuple[str, ...] = ()
    done: str
    run: UUID | None = None


@flow(name="reconcile")
@fails_with_its_error
async def reconcile(
    budget: Annotated[int, Field(ge=1, le=1000, description="Maximum number of builds to start.")] = 20,
    places: Annotated[
        tuple[str, ...],
        Field(
            description="Places to check, s3://BUCKET/PREFIX. Empty: those in the variable "
            "enginefarm_releases. If that is empty too: those in ENGINEFARM_RELEASES on the agent."
        ),
    ] = (),
) -> list[Reconciled]:
    """Find releases whose engines are missing or stale, from S3 alone, and start their builds.

    Args:
        budget: the maximum number of builds to start: production first, then the newest releases.
        places: where to look.

    Raises:
        RequestInvalid: no place is named, or a place is malformed.
        LocationRefused: the operator does not allow a place.
        NotDeployed: the farm is not registered on this server.
        FarmError: why a place could not be listed; all other places have been reconciled.
    """
    if runtime.deployment.id is not None:
        be_patient(settings().s3_patience_seconds)
    now = datetime.now(UTC)
    async with get_client() as client:
        places = places or await places_of_releases(client)
        releases, away = await _list_all(_places(places or settings().releases.split()))
        needs = await _needs_with_retry(releases, now)
        done = await _start_all(client, needs, budget, now)
    done += [Reconciled(url=url, done=f"not listed: {error}") for url, error in away.items()]
    await _show_reconciled(done)
    for error in away.values():
        raise error
    return done


async def _show_reconciled(done: Sequence[Reconciled]) -> None:
    table = [
        {
            "release": entry.url,
            "lacks": "; ".join(entry.lacks),
            "done": entry.done,
            "run": "" if entry.run is None else link_to(entry.run, str(entry.run)[:8]),
        }
        for entry in done
    ]
    await add_table("reconciled", table, Markdown("What is missing, and what was done"))


def _places(urls: Sequence[str]) -> list[ReleasePlace]:
    """Return the places to look in.

    Raises:
        RequestInvalid, LocationRefused: as `reconcile`.
    """
    if not urls:
        raise RequestInvalid(
            wanted="places of releases to check",
            found=f"none: the parameter `places`, the variable {RELEASES} and ENGINEFARM_RELEASES are empty",
            fix=f"set {RELEASES} in Prefect's UI or ENGINEFARM_RELEASES on the CPU agents, or pause the "
            "schedule of reconcile/farm",
        )
    for url in urls:
        settings().check_allowed(url)
    return list(dict.fromkeys(map(place_at, urls)))


async def _list_all(places: Sequence[ReleasePlace]) -> tuple[list[ListedRelease], dict[str, FarmError]]:
    """Return the releases of all places, without duplicates, and why some places cannot be listed."""
    listed: dict[ReleaseRef, ListedRelease] = {}
    away: dict[str, FarmError] = {}
    for place in places:
        try:
            releases = await retry_while_s3_is_down(partial(releases_below, place))
            listed |= {release.ref: release for release in releases}
        except FarmError as error:
            away[place.url] = error
    return list(listed.values()), away


async def _needs_with_retry(releases: Sequence[ListedRelease], now: datetime) -> list[ReleaseNeeds]:
    """Return what each release lacks; retry the releases for which S3 did not answer."""
    results: dict[ReleaseRef, ReleaseNeeds] = {}

    def look() -> None:
        pending = [release for release in releases if release.ref not in results or results[release.ref].away]
        results.update((needs.release.ref, needs) for needs in needs_of(pending, now))
        for needs in results.values():
            if needs.away is not None:
                raise needs.away

    with suppress(StoreUnreachable):  # it was down for too long, as `problem` says
        await retry_while_s3_is_down(look)
    return in_turn(results.values())


async def _start_all(
    client: PrefectClient, needs: Sequence[ReleaseNeeds], budget: int, now: datetime
) -> list[Reconciled]:
    """Start builds within the budget; return what was done about each release."""
    active = await _active(client, await release_deployment(client))
    done, remaining = [], budget
    for release_needs in needs:
        answer = _why_not(release_needs, active, remaining)
        run = None
        if not answer:
            run, answer = await _start_once_a_day(client, release_needs, now)
            remaining -= run is not None
        if release_needs.problem:
            get_run_logger().warning("%s: %s", release_needs.release.ref.url, release_needs.problem)
        url, lacks = release_needs.release.ref.url, tuple(rows(release_needs))
        done.append(Reconciled(url=url, lacks=lacks, done=answer, run=run))
    return done


def _why_not(needs: ReleaseNeeds, active: set[ReleaseRef], budget: int) -> str:
    """Return why no run is started; empty if a run must be started."""
    if needs.problem:
        return f"skipped: {needs.problem}"
    if not needs.is_to_build:
        return "update enginefarm on this host to judge the rest" if needs.newer else "complete"
    if needs.release.ref in active:
        return "a run is active already"
    return "" if budget else "postponed: the budget is spent"


async def _active(client: PrefectClient, deployment: UUID) -> set[ReleaseRef]:
    """Return the releases of waiting and active runs."""
    states = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ACTIVE)))
    of_farm = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    runs = await all_flow_runs(client, flow_run_filter=states, deployment_filter=of_farm)
    return {release for run in runs if (release := release_of(run.parameters)) is not None}


async def _start_once_a_day(
    client: PrefectClient, needs: ReleaseNeeds, now: datetime
) -> tuple[UUID | None, str]:
    """Start a run for a release, at most once a day; return the run and what was done."""
    ref = needs.release.ref
    queue = Priority.PRODUCTION if needs.priority is Priority.PRODUCTION else Priority.NIGHTLY
    key = f"reconcile:{ref.url}:{now.date().isoformat()}"
    started = await start_release(
        client,
        ref,
        idempotency_key=key,
        overrides=Overrides(priority=queue),
        queue=queue,
        way="schedule",
    )
    if not started.created:
        return None, f"started today already: {started.run.name}"
    return started.run.id, f"started in the queue {queue}"
