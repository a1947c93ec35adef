"""The Prefect server that a command starts for itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.domain.errors import ServerUnreachable
from tasks.store.s3 import s3_client

_MODEL = Path(__file__).parents[2] / "flows/demo_release/model.keras"


@pytest.mark.slow
def test_a_server_that_does_not_start_is_told_with_what_it_printed(
    enginefarm: Callable[..., tuple[int, str, str]], s3_env: str
) -> None:
    s3_client().upload_file(str(_MODEL), s3_env, "models/digits/1/model.keras")
    s3_client().put_object(Bucket=s3_env, Key="models/digits/1/build.yaml", Body=b"targets: rtx-sm89\n")
    code, output, problems = enginefarm(
        "build", f"s3://{s3_env}/models/digits/1",
        PREFECT_API_DATABASE_CONNECTION_URL="sqlite+aiosqlite:////proc/no-database-here.db",
    )  # fmt: skip
    assert code == ServerUnreachable.exit_code
    assert output == ""
    assert "unable to open database file" in problems
    assert "set PREFECT_API_URL to a running server" in problems
