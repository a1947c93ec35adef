"""Builds that wait in a pool without an agent: what is told of them, and when they are given up."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, runtime
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.release import pool_watch
from flows.release.pool_watch import PoolWatch
from tasks.domain.errors import NotStored, TargetUnavailable
from tasks.domain.offer import Announcement, Offer
from tasks.domain.target import ComputeCapability, Flavour, TensorRTVersion
from tasks.store.announcements import announce
from tasks.store.store import Store
from tests.support.farm.commands import run
from tests.support.waiting import wait_until

POOL = "gpu-t4-trt10.13.3.9"
OFFER = Offer(
    flavour=Flavour.TENSORRT,
    version=TensorRTVersion.parse("10.13.3.9"),
    gpus=(("Tesla T4", ComputeCapability.parse("7.5")),),
    os="linux",
    architecture="x86_64",
)
AGENT = Announcement(pool=POOL, offer=OFFER, host="h", seen="2026-11-26T00:00:00Z")


async def _page(client: PrefectClient) -> str:
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["waiting"]))
    (page,) = [
        artifact.data for artifact in await client.read_artifacts(artifact_filter=wanted)
        if artifact.flow_run_id == UUID(str(runtime.flow_run.id))
    ]  # fmt: skip
    return str(page)


class Clock:
    """The time that the watch sees: each look at the pool takes a second of it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pool_watch, "time", clock)
    return clock


@flow
async def waits(store: str, patience: float, seconds: float) -> str:
    """Wait for an agent of the pool, at most `seconds` of the clock; return this run's page."""
    clock: Any = vars(pool_watch)["time"]
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
        watch = PoolWatch(client=client, store=store, patience=patience)
        try:
            while clock.seconds < seconds:
                await watch.require_agents(POOL)
                clock.seconds += 1
                await asyncio.sleep(0.01)
        finally:
            page = await _page(client)
            assert POOL in page
        return page


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("announced", "patience", "message"),
    [
        (True, 100.0, "for 101 s, and it is announced"),
        (False, 1000.0, "for 31 s, and it is no longer announced"),
    ],
)
def test_waiting_has_an_end(s3_env: str, *, announced: bool, patience: float, message: str) -> None:
    if announced:
        announce(Store.connect(f"s3://{s3_env}"), AGENT)
    with pytest.raises(TargetUnavailable, match=message) as caught:
        asyncio.run(waits(f"s3://{s3_env}", patience, seconds=500))
    assert "enginefarm agent gpu" in caught.value.fix
    assert "enginefarm retry" in caught.value.fix


@pytest.mark.usefixtures("clock")
def test_an_agent_that_was_there_is_waited_for(s3_env: str) -> None:
    announce(Store.connect(f"s3://{s3_env}"), AGENT)
    assert POOL in asyncio.run(waits(f"s3://{s3_env}", 1000.0, seconds=500))


def test_a_pool_that_is_withdrawn_is_given_up(s3_env: str, clock: Clock) -> None:
    announce(Store.connect(f"s3://{s3_env}"), AGENT)
    command = ("agent", "withdraw", POOL, "--store", f"s3://{s3_env}")
    with ThreadPoolExecutor() as beside:
        waiting = beside.submit(asyncio.run, waits(f"s3://{s3_env}", 1e9, seconds=1e9))
        wait_until(lambda: waiting.done() or clock.seconds > 100)
        assert not waiting.done()
        assert run(*command) == f"{POOL} is no longer announced in s3://{s3_env}.\n"
        with pytest.raises(TargetUnavailable, match="no longer announced"):
            waiting.result()
    with pytest.raises(NotStored, match=POOL):
        run(*command)
