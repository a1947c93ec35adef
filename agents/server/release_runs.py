"""The only way to start a run of `build-release`, for commands, the S3 agent and `reconcile` alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Scheduled
from pydantic import TypeAdapter

from agents.server.clock import server_now
from agents.server.flow_runs import release_run_name
from tasks.domain.errors import NotDeployed, RequestInvalid
from tasks.domain.overrides import AS_REQUESTED, Overrides
from tasks.domain.priority import Priority
from tasks.domain.release import ReleaseRef

DEPLOYMENT = "build-release/farm"
_REFUSED = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}
_LONGEST_ANSWER = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A run that was started, now or earlier.

    Attributes:
        run: the run in its present state.
        created: false if the same idempotency key had started it before.
    """

    run: FlowRun
    created: bool


async def start_release(  # noqa: PLR0913 (what a run is started with)
    client: PrefectClient,
    release: ReleaseRef,
    *,
    idempotency_key: str,
    overrides: Overrides = AS_REQUESTED,
    queue: Priority | None = None,
    way: str | None = None,
) -> Started:
    """Start a run that builds `release`. If a run has the idempotency key already, return that run.

    Args:
        client: of the farm's server.
        release: what to build.
        idempotency_key: requests with equal keys start one run.
        overrides: which part of it to build.
        queue: the run's work queue; None for the deployment's default.
        way: what started the run, for people: becomes a tag of the run.

    Raises:
        NotDeployed: the farm is not registered on this server.
        RequestInvalid: the server will never accept this run.
    """
    deployment = await release_deployment(client)
    before = await run_started_with(client, idempotency_key)
    with _refusals():
        run = await client.create_flow_run_from_deployment(
            deployment,
            parameters=_parameters(release, overrides),
            name=release_run_name(release),  # until it starts, it would have a random name
            state=Scheduled(scheduled_time=await server_now(client)),
            tags=[f"way:{way}"] if way else None,
            work_queue_name=queue,
            idempotency_key=idempotency_key,
        )
    return Started(run=await client.read_flow_run(run.id), created=before is None)


@contextmanager
def _refusals() -> Iterator[None]:
    """Raise RequestInvalid if the server will never accept the parameters."""
    try:
        yield
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status not in _REFUSED:
            raise
        raise RequestInvalid(
            wanted=f"parameters that {DEPLOYMENT} accepts",
            found=f"the server answers {status}: {_detail(error)}",
            fix="correct the value",
        ) from error


async def release_deployment(client: PrefectClient) -> UUID:
    """Return the deployment of `build-release`.

    Raises:
        NotDeployed: the farm is not registered on this server.
    """
    try:
        return (await client.read_deployment_by_name(DEPLOYMENT)).id
    except ObjectNotFound as error:
        raise NotDeployed(
            wanted=f"the deployment {DEPLOYMENT} on the Prefect server",
            found="none",
            fix="register the farm: `enginefarm deploy`",
        ) from error


def _parameters(release: ReleaseRef, overrides: Overrides) -> dict[str, Any]:
    """Return the parameters of a run, ready for JSON."""
    return {
        "release": TypeAdapter(ReleaseRef).dump_python(release, mode="json"),
        "overrides": TypeAdapter(Overrides).dump_python(overrides, mode="json"),
    }


async def run_started_with(client: PrefectClient, idempotency_key: str) -> FlowRun | None:
    """Return the run that was started with this idempotency key, if any."""
    same = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[idempotency_key]))
    return next(iter(await client.read_flow_runs(flow_run_filter=same, limit=1)), None)


def _detail(error: PrefectHTTPStatusError) -> str:
    try:
        text = str(error.response.json()["detail"])
    except (json.JSONDecodeError, KeyError, TypeError):
        text = error.response.text
    return text[:_LONGEST_ANSWER]
