"""How an agent says how it is."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
from pathlib import Path

import httpx
import pytest

from agents.health import Health, Report
from tasks.domain.errors import RequestInvalid

WELL, UNWELL = (Report(well=well, workers={"one": {"state": "idle"}}) for well in (True, False))


async def _answer(health: Health, report: Report) -> httpx.Response:
    showing = asyncio.create_task(health.show(lambda: report))
    try:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=5)) as client:
            return await client.get(f"http://127.0.0.1:{health.port}/healthz")
    finally:
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing


@pytest.mark.parametrize(("report", "status"), [(WELL, 200), (UNWELL, 503)])
def test_the_port_and_the_file_say_the_same(
    report: Report, status: int, tmp_path: Path, free_port: object
) -> None:
    assert callable(free_port)
    health = Health(file=tmp_path / "beat", port=free_port())
    answer = asyncio.run(_answer(health, report))
    assert answer.status_code == status
    assert answer.json()["workers"] == {"one": {"state": "idle"}}
    beats = [json.loads(file.read_text("utf-8")) for file in tmp_path.iterdir()]
    assert [beat["well"] for beat in beats] == ([True] if report.well else [])


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RequestInvalid, match=f"port {port} of the loopback") as told:
            asyncio.run(Health(port=port).show(lambda: WELL))
    assert "--health-port" in str(told.value)


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid, match="heartbeat") as told:
        asyncio.run(Health(file=tmp_path / "none" / "beat").show(lambda: WELL))
    assert os.strerror(errno.ENOENT) in str(told.value)
