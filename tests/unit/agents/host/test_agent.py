"""What an agent does again and again goes on whatever the server says meanwhile."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from agents.host import agent as host_agent
from agents.host.agent import Agent
from tasks.domain.errors import ServerUnreachable
from tests.support.waiting import PATIENCE


def _answer(status: int) -> PrefectHTTPStatusError:
    request = httpx.Request("POST", "http://server/api/flow_runs/filter")
    response = httpx.Response(status, request=request)
    return PrefectHTTPStatusError("refused", request=request, response=response)


def test_no_answer_of_the_server_ends_the_sweep_of_an_agent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = iter(
        (
            ObjectNotFound(_answer(404)),
            _answer(429),
            ServerUnreachable(wanted="an answer", found="none", fix="wait"),
        )
    )
    monkeypatch.setattr(host_agent, "_SWEEP_SECONDS", 0.0)
    reached = asyncio.Event()

    async def on_server(_: object) -> None:
        if error := next(errors, None):
            raise error
        reached.set()

    async def end_orphans(_: object) -> None:
        pass

    supervisor = SimpleNamespace(spec=SimpleNamespace(pool="pool", worker="worker"), well=True, process=None)
    host = SimpleNamespace(on_server=on_server, end_orphans=end_orphans)
    agent = Agent(host=cast("Any", host), flows={}, environment={}, drain_seconds=0, health=cast("Any", None))
    agent._supervisors = [cast("Any", supervisor)]

    async def sweep() -> None:
        sweeps = asyncio.create_task(agent._sweep())
        await asyncio.wait_for(reached.wait(), PATIENCE)
        sweeps.cancel()

    asyncio.run(sweep())
    assert caplog.text.count("WARNING") == 3
    assert "ObjectNotFound" in caplog.text
