"""Clients of the farm's own Prefect server, for commands."""

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
        ServerUnreachable: no server is configured.
        ServerUnsafe: the configured server may not be used.
    """
    api = get_current_settings().api
    return check_server(
        api.url,
        secret=api.auth_string is not None or api.key is not None,
        plain_http=settings().plain_http.split(),
    )


def check_own_server() -> None:
    """Check the configured Prefect server, if there is one, as `farm_api` does."""
    if get_current_settings().api.url:
        farm_api()


@asynccontextmanager
async def farm_client() -> AsyncIterator[PrefectClient]:
    """Yield a client of the farm's Prefect server.

    Raises:
        ServerUnreachable: no server is configured, or it does not answer.
        ServerUnsafe: the configured server may not be used.
        ServerDenied: it refuses the password.
    """
    farm_api()
    with server_errors():
        async with get_client() as client:
            yield client
