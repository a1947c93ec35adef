"""A listing goes on where one request file cannot be read."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from agents.s3 import agent
from agents.s3.agent import S3Agent, S3AgentSettings
from agents.server.release_runs import Started
from tasks.domain.errors import FarmError, StoreDenied, StoreUnreachable
from tasks.domain.priority import Priority
from tasks.domain.release import ReleaseRef
from tasks.domain.release_place import CreatedObject, ReleasePlace
from tasks.store.listing import Listed

_PLACE = ReleasePlace(bucket="bucket", prefix="models")
_TEXTS = {"wanted": "to read it", "found": "no", "fix": "wait"}


class World:
    """An S3 with three releases, of which some cannot be read, and a server that takes runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused: dict[str, FarmError] = {}
        self.started: list[str] = []
        now = datetime.now(UTC)
        keys = [f"models/{name}/1/build.yaml" for name in "abc"]
        listed = [Listed(key=key, size=1, modified=now, etag="e") for key in keys]
        monkeypatch.setattr(agent, "request_files", lambda *_, **__: listed)
        monkeypatch.setattr(agent, "content_of", self.content_of)
        monkeypatch.setattr(agent, "priority_of", lambda _: Priority.DEFAULT)
        monkeypatch.setattr(agent, "get_client", nullcontext)
        monkeypatch.setattr(agent, "start_release", self.start_release)

    def content_of(self, created: CreatedObject) -> str:
        name = created.key.split("/")[1]
        if name in self.refused:
            raise self.refused[name]
        return "content"

    async def start_release(self, _: None, release: ReleaseRef, **__: object) -> Started:
        self.started.append(release.model)
        return Started(run=FlowRun(flow_id=uuid4()), created=True)


def test_one_that_cannot_be_read_keeps_no_other_from_its_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(monkeypatch)
    settings = S3AgentSettings(places=(_PLACE,), list_seconds=60, list_window=timedelta(days=1))
    agent = S3Agent(queue=None, settings=settings)

    world.refused["a"] = StoreDenied(**_TEXTS)
    asyncio.run(agent._list(_PLACE))
    assert world.started == ["b", "c"]
    assert "s3://bucket/models/a/1/build.yaml" in caplog.text

    world.refused["a"] = StoreUnreachable(**_TEXTS)
    with pytest.raises(StoreUnreachable):
        asyncio.run(agent._list(_PLACE))

    del world.refused["a"]
    asyncio.run(agent._list(_PLACE))
    assert world.started == ["b", "c", "a"]
