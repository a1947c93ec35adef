"""A store with engines of one model, of which each test changes what it is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.domain.offer import Announcement, Offer, pool_of
from tasks.domain.record import EngineRecord
from tasks.domain.request import Precision
from tasks.store.announcements import announce
from tasks.store.store import Store


@pytest.fixture
def store(s3_env: str) -> Store:
    return Store.connect(f"s3://{s3_env}/team")


@pytest.fixture
def put(store: Store, engine_record: EngineRecord) -> Callable[..., EngineRecord]:
    """A function that stores the record of an engine, and `build.yaml` of its release."""

    def commit(version: str = "7", digit: str = "a", **change: Any) -> EngineRecord:
        options = replace(engine_record.options, precision=change.pop("precision", Precision.FP16))
        ref = replace(engine_record.release.ref, bucket=store.bucket, version=version)
        target = change.pop("target", engine_record.target)
        key = f"engines/resnet/{version}/l4/{target.version}/{options.precision}-{digit * 12}.json"
        record = replace(
            engine_record, key=key, build_key=digit * 64, version=version, options=options, target=target,
            release=replace(engine_record.release, ref=ref), **change,
        )  # fmt: skip
        body = f"targets: [l4]\nprecisions: [{options.precision}]\n".encode()
        store.client.put_object(Bucket=store.bucket, Key=f"{ref.key}build.yaml", Body=body)
        return store.commit(record, key)

    return commit


@pytest.fixture
def agent(store: Store, engine_record: EngineRecord) -> None:
    """An agent that builds for the L4 has announced itself."""
    target = engine_record.target
    offer = Offer(
        flavour=target.flavour, version=target.version, os="linux", architecture="x86_64",
        gpus=((str(target.gpu), target.compute_capabilities[0]),),
    )  # fmt: skip
    seen = datetime.now(UTC).isoformat()
    announce(store, Announcement(pool=pool_of(target), offer=offer, host="a", seen=seen))
