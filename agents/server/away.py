"""A Prefect server that is away, told from one that refuses."""

from __future__ import annotations

from http import HTTPStatus

import httpx
from prefect.exceptions import PrefectHTTPStatusError

NO_ANSWER = (httpx.TransportError, PrefectHTTPStatusError)
"""What a client of Prefect's raises where it got no answer, or one that is no success."""

_OVERLOADED = HTTPStatus.INTERNAL_SERVER_ERROR


def is_away(error: httpx.TransportError | PrefectHTTPStatusError) -> bool:
    """Say whether the same call may succeed later: the server did not answer, or could not."""
    return not isinstance(error, PrefectHTTPStatusError) or error.response.status_code >= _OVERLOADED
