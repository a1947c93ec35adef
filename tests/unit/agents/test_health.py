"""How an agent says how it is."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from agents.health import Health, Report, Steps
from tasks.domain.errors import RequestInvalid
from tests.support.waiting import PATIENCE, wait_until

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


def test_an_agent_whose_event_loop_hangs_does_not_answer(free_port: Callable[[], int]) -> None:
    port, asked = free_port(), threading.Event()

    def ask() -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=0.5, trust_env=False)
        asked.set()

    async def hang() -> None:
        showing = asyncio.create_task(Health(port=port).show(lambda: WELL))
        await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/healthz")  # it listens
        thread = threading.Thread(target=ask)
        thread.start()
        assert asked.wait(PATIENCE)  # holds up the event loop
        thread.join()
        showing.cancel()

    asyncio.run(hang())


@pytest.mark.parametrize(
    "request_bytes",
    [b"GET /other HTTP/1.1\r\n\r\n", b"POST /healthz HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n"],
)
def test_the_port_has_nothing_else(request_bytes: bytes, free_port: Callable[[], int]) -> None:
    port = free_port()

    def ask() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(request_bytes)
            return connection.makefile("rb").readline()

    async def serve() -> bytes:
        showing = asyncio.create_task(Health(port=port).show(lambda: WELL))
        await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/healthz")  # it listens
        answer = await asyncio.to_thread(ask)
        showing.cancel()
        return answer

    assert asyncio.run(serve()) == b"HTTP/1.1 404 Not Found\r\n"


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RequestInvalid, match=f"port {port} of the loopback") as caught:
            asyncio.run(Health(port=port).show(lambda: WELL))
    assert "--health-port" in str(caught.value)


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid, match="heartbeat") as caught:
        asyncio.run(Health(file=tmp_path / "none" / "beat").show(lambda: WELL))
    assert os.strerror(errno.ENOENT) in str(caught.value)


def test_a_task_that_hangs_is_seen(free_port: Callable[[], int], tmp_path: Path) -> None:
    steps, port, file = Steps(), free_port(), tmp_path / "heartbeat"

    async def ask() -> tuple[int, dict[str, Any]]:
        showing = asyncio.create_task(Health(file=file, port=port).show(steps.report))
        answer = await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/healthz")
        showing.cancel()
        return answer

    steps.take("queue", "waits", within=PATIENCE)
    steps.take("listing", "lists", within=PATIENCE)
    status, report = asyncio.run(ask())
    assert (status, report["workers"]["queue"]["state"]) == (200, "waits")
    assert file.exists()

    file.unlink()
    steps.take("listing", "lists", within=0.0)
    status, report = asyncio.run(ask())
    assert (status, report["well"]) == (503, False)
    assert not file.exists()


def _get(url: str) -> tuple[int, dict[str, Any]]:
    def ask() -> httpx.Response | None:
        with contextlib.suppress(httpx.ConnectError):  # it begins to listen at this moment
            return httpx.get(url, trust_env=False, timeout=PATIENCE)
        return None

    answer: httpx.Response = wait_until(ask, url)
    return answer.status_code, answer.json()
