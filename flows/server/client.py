"""The farm's own Prefect server, as commands reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect.client.orchestration import PrefectClient, get_client
from prefect.settings import get_current_settings

from agents.server.access import check_server
from agents.server.away import server_errors
from flows.settings import settings


def farm_api() -> str:
    """Return the URL of the farm's Prefect API.

    Raises:
        ServerUnreachable: none is set.
        ServerUnsafe: it may not be used as it is set.
    """
    api = get_current_settings().api
    return check_server(
        api.url,
        secret=api.auth_string is not None or api.key is not None,
        plain_http=settings().plain_http.split(),
    )


def check_own_server() -> None:
    """Refuse the Prefect server that is set, if one is and it may not be used; see `farm_api`."""
    if get_current_settings().api.url:
        farm_api()


@asynccontextmanager
async def farm_client() -> AsyncIterator[PrefectClient]:
    """Yield a client of the farm's Prefect server.

    Raises:
        ServerUnreachable: no server is set, or it does not answer.
        ServerUnsafe: it may not be used as it is set.
        ServerDenied: it refuses the password.
    """
    farm_api()
    with server_errors():
        async with get_client() as client:
            yield client
