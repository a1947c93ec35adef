"""The farm's own Prefect server, as commands reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from agents.server.access import check_server
from agents.server.away import is_away
from flows.settings import settings
from tasks.domain.farm_errors import ServerDenied, ServerUnreachable

_DENIED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


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
    url = farm_api()
    try:
        async with get_client() as client:
            yield client
    except httpx.TransportError as error:
        raise _unreachable(url, type(error).__name__) from error
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        if status in _DENIED:
            raise ServerDenied(
                wanted=f"to use the Prefect server at {url}",
                found="it refuses the password" if _has_secret() else "it asks for a password",
                fix="set PREFECT_API_AUTH_STRING to what the server was started with",
            ) from error
        if is_away(error):
            raise _unreachable(url, f"it answers {status}") from error
        raise
    except RuntimeError as error:  # what the client makes of any failure of its first call
        if isinstance(error.__cause__, Exception):
            raise _unreachable(url, type(error.__cause__).__name__) from error
        raise


def _has_secret() -> bool:
    api = get_current_settings().api
    return api.auth_string is not None or api.key is not None


def _unreachable(url: str, found: str) -> ServerUnreachable:
    return ServerUnreachable(
        wanted=f"an answer of the Prefect server at {url}",
        found=found,
        fix="see that the server runs, and that PREFECT_API_URL names it",
    )
