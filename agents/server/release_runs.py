"""Runs of `build-release` on the farm's Prefect server, one for each content of a request file."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

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


class ServerAway(Exception):
    """The server takes no runs at this moment: it is away, busy, locked, or the farm is not deployed."""


class RunRefused(Exception):
    """The server will never take this run."""


async def start_run(release: ReleaseRef, *, priority: Priority, idempotency_key: str) -> UUID:
    """Start a run that builds `release`, and return it; with a key that is known, the run that has it.

    Args:
        release: what to build.
        priority: the work queue that the run waits in.
        idempotency_key: the same for the same content of the release's request file.

    Raises:
        ServerAway: trying again later can help.
        RunRefused: it cannot.
    """
    try:
        async with get_client() as client:
            deployment = await client.read_deployment_by_name(DEPLOYMENT)
            run = await client.create_flow_run_from_deployment(
                deployment.id,
                parameters={"release": asdict(release)},
                name=f"{release.model}-{release.version}",  # until it starts it would have one of Prefect's
                tags=["way:s3"],
                work_queue_name=priority,
                idempotency_key=idempotency_key,
            )
    except ObjectNotFound as error:
        raise ServerAway(f"no deployment {DEPLOYMENT}: register the farm on its Prefect server") from error
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        found = f"Prefect's server answers {status}: {error.response.text[:_LONGEST_ANSWER]}"
        raise (RunRefused if status in _REFUSED else ServerAway)(found) from error
    except httpx.HTTPError as error:
        raise ServerAway(f"Prefect's server does not answer ({type(error).__name__})") from error
    except RuntimeError as error:  # what the client makes of any failure of its first call
        if not isinstance(error.__cause__, Exception):
            raise
        raise ServerAway(f"Prefect's server does not answer ({type(error.__cause__).__name__})") from error
    return run.id
