"""Servers that the farm does not talk to."""

from __future__ import annotations

import pytest

from agents.server.access import check_server
from tasks.domain.errors import ServerUnreachable, ServerUnsafe


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost", "[::1]:4200", "127.9.9.9"])
def test_the_loopback_may_be_open(host: str) -> None:
    assert check_server(f"http://{host}/api", secret=False) == f"http://{host}/api"


@pytest.mark.parametrize(
    ("url", "secret", "reason"),
    [
        ("https://farm.example/api", False, "a password"),
        ("http://farm.example/api", True, "https"),
        ("http://10.0.0.7:4200/api", True, "https"),
        ("http://localhost.example/api", False, "a password"),
        ("http://0.0.0.0:4200/api", False, "a password"),
        ("https://operator:hunter2@farm.example/api", True, "without a password"),
        ("http://:hunter2@127.0.0.1/api", True, "without a password"),
        ("file:///hunter2", True, "PREFECT_API_URL"),
    ],
)
def test_an_unsafe_server_is_refused(url: str, *, secret: bool, reason: str) -> None:
    with pytest.raises(ServerUnsafe, match=reason) as refused:
        check_server(url, secret=secret, plain_http=("other",))
    assert "hunter2" not in str(refused.value)


def test_a_safe_server_is_taken() -> None:
    assert check_server("https://farm.example/api", secret=True)
    assert check_server("http://prefect:4200/api", secret=True, plain_http=("prefect",))
    with pytest.raises(ServerUnsafe):  # a private network does not replace the password
        check_server("http://prefect:4200/api", secret=False, plain_http=("prefect",))


@pytest.mark.parametrize("url", [None, ""])
def test_no_server_is_no_server(url: str | None) -> None:
    with pytest.raises(ServerUnreachable, match="PREFECT_API_URL is not set"):
        check_server(url, secret=True)
