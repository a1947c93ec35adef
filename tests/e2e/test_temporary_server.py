"""The Prefect server that a command starts for itself."""

from __future__ import annotations

from collections.abc import Callable

from tasks.domain.errors import ServerUnreachable


def test_a_server_that_does_not_start_is_told_with_what_it_printed(
    enginefarm: Callable[..., tuple[int, str, str]],
) -> None:
    code, output, problems = enginefarm(
        "build", "s3://models/digits/1",
        PREFECT_API_DATABASE_CONNECTION_URL="sqlite+aiosqlite:////proc/no-database-here.db",
    )  # fmt: skip
    assert code == ServerUnreachable.exit_code
    assert output == ""
    assert "unable to open database file" in problems
    assert "set PREFECT_API_URL to a running server" in problems
