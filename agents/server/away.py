"""Translates errors of Prefect's client into errors of the farm: the server is down, or it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpx
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from tasks.domain.errors import ServerDenied, ServerUnreachable

NO_ANSWER = (httpx.TransportError, PrefectHTTPStatusError)
"""What Prefect's client raises if it gets no response, or one that is no success."""

_OVERLOADED = HTTPStatus.INTERNAL_SERVER_ERROR
_DENIED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def is_away(error: httpx.TransportError | PrefectHTTPStatusError) -> bool:
    """Return whether a retry may succeed: the server did not answer, or was overloaded."""
    return not isinstance(error, PrefectHTTPStatusError) or error.response.status_code >= _OVERLOADED


@contextmanager
def server_errors(*, every_status: bool = False) -> Iterator[None]:
    """Translate errors of Prefect's client into errors of the farm.

    Args:
        every_status: whether all other statuses count as unreachable, too: for callers that retry anyway.

    Raises:
        ServerUnreachable: the server does not answer, or is overloaded.
        ServerDenied: it refuses the password.
    """
    try:
        yield
    except PrefectHTTPStatusError as error:  # an HTTPError itself
        status = error.response.status_code
        if status in _DENIED:
            raise _denied() from error
        if every_status or is_away(error):
            raise _unreachable(f"it answers {status}") from error
        raise
    except httpx.HTTPError as error:
        raise _unreachable(type(error).__name__) from error
    # Workaround (Prefect 3.8.8): its client turns any failure of its first call into a RuntimeError. Remove
    # when that call raises the same errors as later calls; in 3.9.1 it does not.
    except RuntimeError as error:
        if isinstance(error.__cause__, Exception):
            raise _unreachable(type(error.__cause__).__name__) from error
        raise


def _denied() -> ServerDenied:
    api = get_current_settings().api
    has_secret = api.auth_string is not None or api.key is not None
    return ServerDenied(
        wanted=f"to use the Prefect server at {api.url}",
        found="it refuses the password" if has_secret else "it asks for a password",
        fix="set PREFECT_API_AUTH_STRING to what the server was started with",
    )


def _unreachable(found: str) -> ServerUnreachable:
    return ServerUnreachable(
        wanted=f"an answer from the Prefect server at {get_current_settings().api.url}",
        found=found,
        fix="check that the server is running and that PREFECT_API_URL names it",
    )
