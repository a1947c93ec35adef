"""Many wait for one run each: the server is asked once a second for all of them."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client

from flows.release import child_runs
from flows.release.child_runs import RunReader

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow
def child() -> None:
    """Do nothing."""


async def _read_all() -> None:
    async with get_client() as client:
        runs = [(await client.create_flow_run(child)).id for _ in range(5)]
        unknown = uuid4()
        asked: list[str] = []

        async def count(request: httpx.Request) -> None:
            asked.append(request.url.path)

        client._client.event_hooks = {"request": [count]}
        reader = RunReader(client)
        impatient = asyncio.create_task(reader.read(runs[0]))
        await asyncio.sleep(0)
        impatient.cancel()
        read = await asyncio.gather(*(reader.read(run) for run in (*runs, unknown)))
        assert [run and run.id for run in read] == [*runs, None]
        assert asked == ["/api/flow_runs/filter"] * 2

        again = await reader.read(runs[1])
        assert again is not None
        assert again.id == runs[1]
        assert len(asked) == 3


def test_one_request_for_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_runs, "_AT_ONCE", 4)
    asyncio.run(_read_all())


async def _read_in_vain() -> None:
    async with get_client() as client:
        client._client.base_url = httpx.URL("http://127.0.0.1:9/api/")
        reader = RunReader(client)
        answers = await asyncio.gather(*(reader.read(uuid4()) for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [httpx.ConnectError] * 3


def test_all_who_wait_hear_that_the_server_is_away() -> None:
    asyncio.run(_read_in_vain())
