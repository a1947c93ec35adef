"""A request becomes cells; what no hardware can do is left out or refused, with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flows.cells import cells_of
from tasks.domain.errors import RequestInvalid, TargetUnavailable
from tasks.domain.request import BuildRequest, Precision, TimingMode
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion


def rtx(compute: str) -> EngineTarget:
    return EngineTarget(
        flavour=Flavour.RTX,
        version=TensorRTVersion.parse("1.7.1.116"),
        gpu=None,
        compute_capabilities=(ComputeCapability.parse(compute),),
        os="linux",
        architecture="x86_64",
    )


OLD, NEW = rtx("7.5"), rtx("8.9")
REQUEST = BuildRequest(precisions=(Precision.FP32, Precision.FP8), samples="samples.npz")


def test_all_leaves_out_what_cannot_be_and_tells_it() -> None:
    cells, skipped = cells_of(REQUEST, (OLD, NEW))
    assert cells == ((OLD, Precision.FP32), (NEW, Precision.FP32), (NEW, Precision.FP8))
    (one,) = skipped
    assert (one.device, one.precision) == ("rtx-sm75", Precision.FP8)
    assert one.reason == "fp8 needs compute capability 8.9, and this is 7.5"


def test_a_named_target_that_cannot_is_refused_before_anything_is_built() -> None:
    with pytest.raises(TargetUnavailable, match=r"rtx-sm75 fp8: fp8 needs compute capability 8\.9"):
        cells_of(replace(REQUEST, targets=("rtx-sm75", "rtx-sm89")), (OLD, NEW))


def test_nothing_left_is_refused_too() -> None:
    with pytest.raises(TargetUnavailable, match="fp8 needs compute capability"):
        cells_of(replace(REQUEST, precisions=(Precision.FP8,)), (OLD,))


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP8])
def test_quantised_precisions_without_samples_are_refused(precision: Precision) -> None:
    request = BuildRequest(precisions=(Precision.FP32, precision))
    with pytest.raises(RequestInvalid, match="samples"):
        cells_of(request, (NEW,))
    assert cells_of(replace(request, samples="samples.npz"), (NEW,))[0]


def test_a_timing_cache_is_named_for_reproducible_builds_only() -> None:
    request = BuildRequest(timing_cache="ab" * 32)
    with pytest.raises(RequestInvalid, match="`timing: reproducible`, or take timing_cache out"):
        cells_of(request, (NEW,))
    assert cells_of(replace(request, timing=TimingMode.REPRODUCIBLE), (NEW,))[0]
