"""What Prefect's client raises becomes an error of the farm that says what happened."""

from __future__ import annotations

import httpx
import pytest
from prefect.exceptions import PrefectHTTPStatusError

from agents.server.away import server_errors
from tasks.domain.errors import ServerDenied, ServerUnreachable


def answered(status: int) -> PrefectHTTPStatusError:
    request = httpx.Request("GET", "http://127.0.0.1:4200/api/flows")
    error = httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, request=request))
    return PrefectHTTPStatusError.from_httpx_error(error)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_password_is_no_server_that_is_away(status: int) -> None:
    with pytest.raises(ServerDenied), server_errors():
        raise answered(status)


def test_an_overloaded_server_is_unreachable() -> None:
    with pytest.raises(ServerUnreachable, match="it answers 503"), server_errors():
        raise answered(503)


def test_another_status_is_no_server_that_is_away_unless_the_caller_retries_anyway() -> None:
    with pytest.raises(PrefectHTTPStatusError), server_errors():
        raise answered(404)
    with pytest.raises(ServerUnreachable, match="it answers 404"), server_errors(every_status=True):
        raise answered(404)


def test_a_server_that_does_not_answer_is_unreachable() -> None:
    with pytest.raises(ServerUnreachable, match="ConnectError"), server_errors():
        raise httpx.ConnectError("refused")
