"""Which builds share a timing cache, and what that has to do with the engine's key."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from tasks.domain.order import EngineOrder, order_for
from tasks.domain.record import ConversionRecord
from tasks.domain.release import Release
from tasks.domain.request import BuildRequest, Precision, TimingMode
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion
from tasks.domain.timing import TimingCacheKey, timing_key, why_untimed

CUDA = "13.0"
CHANGED: dict[str, Any] = {
    "flavour": Flavour.RTX,
    "version": TensorRTVersion.parse("10.13.3.8"),
    "gpu": "NVIDIA L40S",
    "compute_capability": ComputeCapability(major=8, minor=6),
    "cuda": "12.9",
    "os": "other",
    "architecture": "aarch64",
}


@pytest.fixture
def key(target: EngineTarget) -> TimingCacheKey:
    cache_key = timing_key(target, CUDA)
    assert cache_key is not None
    return cache_key


def test_every_part_of_the_key_is_a_cache_of_its_own(key: TimingCacheKey) -> None:
    assert CHANGED.keys() == {field.name for field in dataclasses.fields(TimingCacheKey)}
    places = {key.place} | {replace(key, **{name: value}).place for name, value in CHANGED.items()}
    assert len(places) == len(CHANGED) + 1


def test_keys_are_readable(key: TimingCacheKey) -> None:
    device, version, digest = key.place.removeprefix("timing/").split("/")
    assert (device, version, len(digest)) == ("l4", "10.13.3.9", 64)
    assert key.shared == f"{key.place}.json"
    assert key.recorded("ab" * 32) == f"{key.place}/{'ab' * 32}.json"


def test_where_there_is_no_cache_the_reason_is_told(target: EngineTarget) -> None:
    rtx = replace(target, flavour=Flavour.RTX, gpu=None)
    for untimed, cuda, reason in (
        (rtx, CUDA, "measures no kernels"),
        (target, None, "does not tell its version"),
    ):
        assert timing_key(untimed, cuda) is None
        assert reason in why_untimed(untimed, cuda)
    assert why_untimed(target, CUDA) == ""


def order(
    request: BuildRequest, release: Release, conversion: ConversionRecord, target: EngineTarget
) -> EngineOrder:
    return order_for(
        store="s3://farm",
        release=release,
        conversion=conversion,
        request=request,
        target=target,
        precision=Precision.FP16,
        build_tools={},
    )


def test_only_reproducible_builds_have_their_timings_in_the_build_key(
    release: Release, conversion: ConversionRecord, target: EngineTarget
) -> None:
    requests = [
        BuildRequest(),
        BuildRequest(timing=TimingMode.NONE),
        BuildRequest(timing=TimingMode.REPRODUCIBLE),
        BuildRequest(timing=TimingMode.REPRODUCIBLE, timing_cache="a" * 64),
        BuildRequest(timing=TimingMode.REPRODUCIBLE, timing_cache="b" * 64),
    ]
    orders = [order(request, release, conversion, target) for request in requests]
    assert [order.timing for order in orders] == [request.timing for request in requests]
    assert orders[0].build_key == orders[1].build_key
    assert len({order.build_key for order in orders}) == 4


@pytest.mark.parametrize("digest", ["", "A" * 64, "a" * 63, "a" * 65, "sha256:" + "a" * 64])
def test_a_cache_is_named_by_its_digest(digest: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case hexadecimal digits"):
        BuildRequest(timing=TimingMode.REPRODUCIBLE, timing_cache=digest)
