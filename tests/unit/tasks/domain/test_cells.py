"""A request becomes cells; what no hardware can do is left out or refused, with the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.domain.cells import LostCell, cells_of, failure_of, refused_cells
from tasks.domain.compatibility import Compatibility, HardwareLevel
from tasks.domain.errors import (
    CellsFailed,
    FarmError,
    RequestInvalid,
    TargetUnavailable,
    ToolchainBroken,
    VerificationFailed,
)
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
    (cell,) = skipped
    assert (cell.device, cell.precision) == ("rtx-sm75", Precision.FP8)
    assert cell.reason == "fp8 needs compute capability 8.9, and this is 7.5"


def test_a_named_cell_that_cannot_be_fails_and_keeps_no_other_from_being_built() -> None:
    request = replace(REQUEST, targets=("rtx-sm75", "rtx-sm89"))
    cells, skipped = cells_of(request, (OLD, NEW))
    assert cells == ((OLD, Precision.FP32), (NEW, Precision.FP32), (NEW, Precision.FP8))
    (lost,) = refused_cells(request, skipped)
    assert (lost.device, lost.precision, type(lost.error)) == ("rtx-sm75", "fp8", TargetUnavailable)
    assert refused_cells(REQUEST, skipped) == ()


def test_an_unknown_family_loses_its_own_cells_only() -> None:
    newer = replace(tensorrt("10.13.3.9", "Tesla T4", "7.5"), version=TensorRTVersion.parse("99.0.0.1"))
    cells, skipped = cells_of(BuildRequest(), (newer, NEW))
    assert cells == ((NEW, Precision.FP32),)
    assert "99.0.0.1" in skipped[0].reason


def lost(device: str, error: FarmError, version: str | None = None) -> LostCell:
    parsed = None if version is None else TensorRTVersion.parse(version)
    return LostCell(device=device, precision=Precision.FP16, error=error, version=parsed)


def test_cells_that_all_fail_alike_have_their_own_error_and_others_are_listed() -> None:
    off, broken = (cls(wanted="a", found="b", fix="c") for cls in (VerificationFailed, ToolchainBroken))
    alike = VerificationFailed(wanted="a", found="b", fix="c")
    assert failure_of((), ()) is None
    assert failure_of((), (lost("l4", off), lost("t4", alike))) is off
    cells = (lost("l4", off, "8.6.0.12"), lost("l4", alike, "10.13.3.9"), lost("t4", broken, "8.6.0.12"))
    failure = failure_of((), cells)
    assert isinstance(failure, CellsFailed)
    assert failure.cells == {"l4/8.6.0.12 fp16": off, "l4/10.13.3.9 fp16": alike, "t4 fp16": broken}
    assert "t4 fp16: ToolchainBroken: wanted a" in failure.found


def test_nothing_left_is_refused_too() -> None:
    with pytest.raises(TargetUnavailable, match="fp8 needs compute capability"):
        cells_of(replace(REQUEST, precisions=(Precision.FP8,)), (OLD,))


def tensorrt(version: str, gpu: str, compute: str) -> EngineTarget:
    target = replace(rtx(compute), flavour=Flavour.TENSORRT, gpu=gpu)
    return replace(target, version=TensorRTVersion.parse(version))


SAME = Compatibility(hardware=HardwareLevel.SAME_COMPUTE_CAPABILITY)
AMPERE = Compatibility(version=True, hardware=HardwareLevel.AMPERE_PLUS)
H100_8, H100_10 = (tensorrt(version, "NVIDIA H100 PCIe", "9.0") for version in ("8.6.0.12", "10.13.3.9"))
T4 = tensorrt("10.13.3.9", "Tesla T4", "7.5")


@pytest.mark.parametrize(
    ("asked", "target", "reason"),
    [
        (BuildRequest(compatibility=Compatibility(version=True)), NEW, "version: plans of TensorRT-RTX load"),
        (BuildRequest(compatibility=AMPERE), T4, "ampere_plus: it is built on a GPU from Ampere on, and t4"),
        (BuildRequest(compatibility=SAME), H100_8, "same_compute_capability: this hardware compatibility"),
        (BuildRequest(compatibility=SAME), NEW, "run on every GPU of their capabilities as they are"),
        (BuildRequest(stripped=True), H100_8, "stripped: plans without weights came with TensorRT 10"),
        (BuildRequest(compatibility=AMPERE), H100_8, None),
        (BuildRequest(compatibility=AMPERE, refittable=True, stripped=True), H100_10, None),
        (BuildRequest(compatibility=SAME, stripped=True), T4, None),
        (BuildRequest(refittable=True), H100_8, None),
        (BuildRequest(refittable=True, stripped=True), NEW, None),
    ],
)  # fmt: skip
def test_plans_that_a_family_does_not_make_are_left_out_with_the_reason(
    asked: BuildRequest, target: EngineTarget, reason: str | None
) -> None:
    cells, skipped = cells_of(asked, (target,)) if reason is None else ((), ())
    assert [cell_target for cell_target, _ in cells] == ([target] if reason is None else [])
    assert not skipped
    if reason is not None:
        with pytest.raises(TargetUnavailable) as caught:
            cells_of(asked, (target,))
        assert reason in caught.value.found


def test_plans_for_several_capabilities_take_no_other_weights() -> None:
    both = replace(NEW, compute_capabilities=(*OLD.compute_capabilities, *NEW.compute_capabilities))
    cells, skipped = cells_of(BuildRequest(refittable=True), (NEW, both))
    assert cells == ((NEW, Precision.FP32),)
    assert "name one capability per target" in skipped[0].reason
    assert cells_of(BuildRequest(), (both,))[0] == ((both, Precision.FP32),)


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FP8])
def test_quantised_precisions_without_samples_are_refused(precision: Precision) -> None:
    request = BuildRequest(precisions=(Precision.FP32, precision))
    with pytest.raises(RequestInvalid, match="samples"):
        cells_of(request, (NEW,))
    assert cells_of(replace(request, samples="samples.npz"), (NEW,))[0]


def test_a_timing_cache_is_named_for_reproducible_builds_only() -> None:
    request = BuildRequest(timing_cache="ab" * 32)
    with pytest.raises(RequestInvalid, match="`timing: reproducible`, or remove timing_cache"):
        cells_of(request, (NEW,))
    assert cells_of(replace(request, timing=TimingMode.REPRODUCIBLE), (NEW,))[0]
