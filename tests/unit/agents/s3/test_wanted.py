"""What consumers ask for becomes runs, of the releases that the agent watches and no others."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from agents.s3 import agent
from agents.s3.agent import S3Agent, S3AgentSettings
from agents.server.release_runs import Started
from tasks.domain.errors import StoreUnreachable
from tasks.domain.overrides import Overrides
from tasks.domain.priority import Priority
from tasks.domain.release import ReleaseRef
from tasks.domain.release_place import ReleasePlace
from tasks.domain.request import Precision
from tasks.domain.wanted import WantedEngine
from tasks.store.place import StorePlace
from tasks.store.wanted import ask_for, asked_for

RELEASE = ReleaseRef(bucket="bucket", prefix="models", model="resnet", version="7")
PLACE = ReleasePlace(bucket="bucket", prefix="models")
WANTED = WantedEngine(
    release=RELEASE.url, device="l4", tensorrt="10.13.3.9", precision="fp16", at="2026-12-01T00:00:00+00:00"
)


class Server:
    """Takes runs, unless it is away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[tuple[ReleaseRef, Overrides]] = []
        self.keys: list[str] = []
        self.away = False
        monkeypatch.setattr(agent, "priority_of", lambda _: Priority.DEFAULT)
        monkeypatch.setattr(agent, "get_client", nullcontext)
        monkeypatch.setattr(agent, "start_release", self.start_release)

    async def start_release(
        self, _: None, release: ReleaseRef, *, idempotency_key: str, overrides: Overrides, **__: object
    ) -> Started:
        if self.away:
            raise StoreUnreachable(wanted="a", found="b", fix="c")
        self.started.append((release, overrides))
        self.keys.append(idempotency_key)
        return Started(run=FlowRun(flow_id=uuid4()), created=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


@pytest.fixture
def store(s3_env: str) -> StorePlace:
    return StorePlace.connect(f"s3://{s3_env}/farm")


def listing(store: StorePlace) -> None:
    settings = S3AgentSettings(
        places=(PLACE,), list_seconds=60, list_window=timedelta(days=1), wanted=(store,)
    )
    asyncio.run(S3Agent(queue=None, settings=settings)._list_wanted(store))


def test_a_request_starts_one_run_for_its_cell_and_is_removed(store: StorePlace, server: Server) -> None:
    ask_for(store, WANTED)
    server.away = True
    with pytest.raises(StoreUnreachable):
        listing(store)
    assert len(list(asked_for(store))) == 1
    server.away = False
    listing(store)
    listing(store)
    assert server.started == [(RELEASE, Overrides(targets=("l4",), precisions=(Precision.FP16,)))]
    assert list(asked_for(store)) == []
    ask_for(store, WANTED)
    listing(store)
    assert server.keys[0] == server.keys[1]  # the same request: Prefect's server starts nothing


def test_what_is_no_request_or_of_a_release_elsewhere_starts_nothing(
    store: StorePlace, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    ask_for(
        store,
        WantedEngine(release="s3://other/models/resnet/7", device="l4", tensorrt="1", precision="", at=""),
    )
    for name, body in {
        "a": b"{",
        "b": b"[]",
        "c": b"x" * 5000,
        "d": b'{"schema": "enginefarm/wanted/1"}',
    }.items():
        address = store.address(f"wanted/{name}.json")
        store.client.put_object(Bucket=address.bucket, Key=address.key, Body=body)
    listing(store)
    assert server.started == []
    assert list(asked_for(store)) == []
    assert len([record for record in caplog.records if "refused" in record.message]) == 5
