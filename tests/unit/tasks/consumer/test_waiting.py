"""Waiting for an engine that the farm has to build first."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.consumer import api, waiting
from tasks.domain.backoff import Backoff
from tasks.domain.errors import NoEngineFits, RequestInvalid
from tasks.domain.host_options import named_gpu
from tasks.domain.record import EngineRecord
from tasks.domain.wanted import WantedEngine, wanted_from_json
from tasks.store.wanted import asked_for, read_wanted
from tests.support.consumer_store import PLAN, ConsumerStore, consumer_store


@pytest.fixture
def made(
    s3_env: str, engine_record: EngineRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ConsumerStore:
    monkeypatch.setattr(waiting, "_BACKOFF", Backoff(first=0.01, longest=0.02))
    return consumer_store(f"s3://{s3_env}/farm", engine_record, tmp_path)


def options(made: ConsumerStore, tmp_path: Path) -> dict[str, Any]:
    return {"store": made.url, "cache": tmp_path / "cache"}


def after_asking(made: ConsumerStore, monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    """Let `work` happen once the consumer has asked and waits."""

    def sleep(_: float) -> None:
        if list(asked_for(made.store)):
            work()

    clock = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
    monkeypatch.setattr(waiting, "time", clock)


def test_an_engine_that_is_there_is_not_asked_for(made: ConsumerStore, tmp_path: Path) -> None:
    path = api.fetch(made.engine.model, host=made.host, wait=60, **options(made, tmp_path))
    assert path.read_bytes() == PLAN
    assert list(asked_for(made.store)) == []


def test_a_missing_engine_is_asked_for_and_fetched_once_it_is_built(
    made: ConsumerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = made.store.address(made.engine.key)
    made.store.client.delete_object(Bucket=address.bucket, Key=address.key)

    def build() -> None:
        made.store.client.put_object(Bucket=address.bucket, Key=address.key, Body=made.record)

    after_asking(made, monkeypatch, build)
    path = api.fetch(
        made.engine.model,
        host=made.host,
        wait=600,
        precision=made.engine.precision,
        **options(made, tmp_path),
    )
    assert path.read_bytes() == PLAN
    (listed,) = asked_for(made.store)
    wanted = wanted_from_json(read_wanted(made.store, listed) or b"")
    assert (wanted.release, wanted.device) == (made.engine.release, made.engine.device)
    assert (wanted.tensorrt, wanted.precision) == (str(made.host.version), made.engine.precision)
    assert listed.key == f"farm/{wanted.key}"


def test_the_reason_comes_after_the_time(made: ConsumerStore, tmp_path: Path) -> None:
    other = named_gpu("t4")
    host = dataclasses.replace(made.host, gpu=other.name, compute=other.compute)
    with pytest.raises(NoEngineFits) as refusal:
        api.fetch(made.engine.model, host=host, wait=0, **options(made, tmp_path))
    assert "after asking the farm" in refusal.value.wanted
    assert made.engine.device in refusal.value.found
    assert len(list(asked_for(made.store))) == 1


def test_without_a_release_nothing_is_asked_for(made: ConsumerStore, tmp_path: Path) -> None:
    with pytest.raises(NoEngineFits, match="no engine at all"):
        api.fetch(made.engine.model, version="none", host=made.host, wait=60, **options(made, tmp_path))
    assert list(asked_for(made.store)) == []


def test_nobody_waits_without_a_network(made: ConsumerStore, tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid):
        api.fetch(made.engine.model, host=made.host, wait=1, offline=True, **options(made, tmp_path))


@pytest.mark.parametrize(
    "change", [{"release": "http://x"}, {"device": "../l4"}, {"tensorrt": "x/y"}, {"precision": "fp64"}]
)
def test_what_is_no_request_is_not_read(change: dict[str, str]) -> None:
    wanted = WantedEngine(
        release="s3://models/resnet/7", device="l4", tensorrt="10.13.3.9", precision="fp16", at="now"
    )
    assert wanted_from_json(wanted.to_json()) == wanted
    with pytest.raises(ValueError, match=r".+"):
        dataclasses.replace(wanted, **change)
