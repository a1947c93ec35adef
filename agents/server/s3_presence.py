"""What each S3 agent last said of itself: a variable on Prefect's server, which outlives the agent.

S3 agents serve no work pool, so the server knows none of them as a worker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectNotFound
from pydantic import TypeAdapter, ValidationError

from agents.server.clock import server_now
from tasks.domain.digest import document_digest

REPORT_SECONDS = 30.0
"""How often an S3 agent reports."""

_PREFIX = "enginefarm_s3_agent_"
_ONLINE = timedelta(seconds=4 * REPORT_SECONDS)
_FORGOTTEN = timedelta(days=1)
_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Presence:
    """The last report of an S3 agent. Times are ISO 8601 in UTC.

    Attributes:
        host: where it runs.
        places: URLs of the places of releases that it watches.
        queue: URL of its queue; empty if it only lists.
        seen: when it reported.
        listed: when it last listed all places; empty if it has not.
        waiting: messages that wait in its queue, as SQS counts them; None if it has no queue or SQS is away.
        in_flight: messages that agents are processing; None likewise.
    """

    host: str
    places: tuple[str, ...]
    queue: str
    seen: str
    listed: str = ""
    waiting: int | None = None
    in_flight: int | None = None

    def age(self, now: datetime) -> timedelta:
        """Return how long ago it reported; `now` is the server's time."""
        return now - datetime.fromisoformat(self.seen)

    def is_online(self, now: datetime) -> bool:
        """Return whether it has reported lately; `now` is the server's time."""
        return self.age(now) < _ONLINE


_PRESENCE: TypeAdapter[S3Presence] = TypeAdapter(S3Presence)


def variable_of(host: str, places: Sequence[str], queue: str) -> str:
    """Return the name of an agent's variable, the same after a restart with the same options."""
    plain = re.sub(r"[^a-z0-9]+", "_", host.lower()).strip("_")
    digest = document_digest({"host": host, "places": list(places), "queue": queue})[:8]
    return f"{_PREFIX}{plain}_{digest}"


async def report_presence(client: PrefectClient, presence: S3Presence) -> None:
    """Replace what the agent last said of itself, in the server's time.

    A first report replaces agents that are long gone.

    Raises:
        httpx.TransportError, PrefectHTTPStatusError: the server did not answer, or refused.
    """
    now = await server_now(client)
    value = _document(presence) | {"seen": now.isoformat(timespec="seconds")}
    name = variable_of(presence.host, presence.places, presence.queue)
    if await client.read_variable_by_name(name) is None:
        await client.create_variable(VariableCreate(name=name, value=value, tags=["enginefarm"]))
        for other in await s3_presences(client):
            same = (other.places, other.queue) == (presence.places, presence.queue)
            if same and other.age(now) > _FORGOTTEN:
                with suppress(ObjectNotFound):
                    await client.delete_variable_by_name(variable_of(other.host, other.places, other.queue))
    else:
        await client.update_variable(VariableUpdate(name=name, value=value))


def _document(presence: S3Presence) -> dict[str, Any]:
    return asdict(presence) | {"places": list(presence.places)}


async def s3_presences(client: PrefectClient) -> tuple[S3Presence, ...]:
    """Return what each S3 agent last said of itself, also of those that are gone.

    Raises:
        httpx.TransportError, PrefectHTTPStatusError: the server did not answer, or refused.
    """
    presences = []
    for variable in await client.read_variables(limit=_MOST):
        if variable.name.startswith(_PREFIX):
            with suppress(ValidationError):  # of a newer version, or somebody changed it by hand
                presences.append(_PRESENCE.validate_python(variable.value))
    return tuple(sorted(presences, key=lambda presence: (presence.host, presence.places)))
