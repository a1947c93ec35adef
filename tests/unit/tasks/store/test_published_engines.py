"""What publishing an engine does to channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.domain.compatibility import HardwareLevel, ReadBack
from tasks.domain.digest import blob_ref
from tasks.domain.order import order_for
from tasks.domain.profile import not_profiled
from tasks.domain.record import ConversionRecord, EngineRecord
from tasks.domain.request import BuildRequest, Precision
from tasks.publish import VerifiedEngine, _publish_engine
from tasks.store.channels import channel_at, move_channel
from tasks.store.store import Store
from tasks.tensorrt.engine import BuiltEngine
from tasks.tensorrt.profiling import ProfiledEngine
from tests.support.channels import first_move


@pytest.fixture
def built(
    store: Store, put: Callable[..., EngineRecord], conversion_record: ConversionRecord, tmp_path: Path
) -> VerifiedEngine:
    """An engine that may be published, of a release that has an engine in another precision."""
    other = put()
    plan = tmp_path / "engine.plan"
    plan.write_bytes(b"a plan")
    order = order_for(
        store=store.url, release=other.release, conversion=conversion_record, request=BuildRequest(),
        target=other.target, precision=Precision.FP32, build_tools={},
    )  # fmt: skip
    engine = BuiltEngine(
        plan=plan, ref=blob_ref(b"a plan"), target=other.target, info=other.toolchain, inputs=other.inputs,
        outputs=other.outputs, seconds={}, peak_mib=1.0, warnings=(),
        read_back=ReadBack(hardware=HardwareLevel.NONE, refittable=False),
    )  # fmt: skip
    return VerifiedEngine(
        order=order, conversion=conversion_record, built=engine, verification=other.engine_verification,
        attempt="a", seconds={}, profiled=ProfiledEngine(profile=not_profiled("a test")), denied=(),
    )  # fmt: skip


def test_channels_of_its_release_offer_it_at_once(store: Store, built: VerifiedEngine) -> None:
    for name, version in (("production", "7"), ("other", "8")):
        move_channel(store, first_move(name, version, built.order.release), over=None)
    record = _publish_engine(built)
    assert record.read_back == built.built.read_back
    assert [engine.key for engine in channel_at(store, "resnet", "production").engines] == [record.key]
    assert channel_at(store, "resnet", "other").engines == ()


def test_it_is_published_even_if_a_channel_cannot_be_read(
    store: Store, built: VerifiedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    move_channel(store, first_move("production", "7", built.order.release), over=None)
    key = store.address("channels/resnet/production.json").key
    newer = b'{"schema": "enginefarm/channel/2"}'
    store.client.put_object(Bucket=store.bucket, Key=key, Body=newer)
    record = _publish_engine(built)
    assert store.find(record.key, EngineRecord) == record
    assert "is missing in the index of a channel" in caplog.text
