"""An agent is well as long as each of its tasks takes its steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from agents.health import Health
from agents.steps import Steps


def test_a_task_that_hangs_is_seen(free_port: Callable[[], int], tmp_path: Path) -> None:
    steps, port, file = Steps(), free_port(), tmp_path / "heartbeat"

    async def ask() -> tuple[int, dict[str, Any]]:
        showing = asyncio.create_task(Health(file=file, port=port).show(steps.report))
        answer = await asyncio.to_thread(_get, f"http://127.0.0.1:{port}/healthz")
        showing.cancel()
        return answer

    steps.take("queue", "waits", within=60.0)
    steps.take("listing", "lists", within=60.0)
    status, report = asyncio.run(ask())
    assert (status, report["workers"]["queue"]["state"]) == (200, "waits")
    assert file.exists()

    file.unlink()
    steps.take("listing", "lists", within=0.0)
    status, report = asyncio.run(ask())
    assert (status, report["well"]) == (503, False)
    assert not file.exists()


def _get(url: str) -> tuple[int, dict[str, Any]]:
    deadline = time.monotonic() + 10
    while True:
        try:
            answer = httpx.get(url, trust_env=False)
        except httpx.ConnectError:  # it begins to listen at this moment
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            return answer.status_code, answer.json()
