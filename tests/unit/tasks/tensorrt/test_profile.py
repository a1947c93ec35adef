"""The measuring child on the stand-in: it really runs the engine, by a clock that only runs move."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.children.reference import Corner, write_reference
from tasks.children.run import Confinement, Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import DigestMismatch, GpuUnavailable, RunnerMissing
from tasks.domain.profile import Measured, Profile
from tasks.domain.request import Precision, ShapeRange
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion
from tasks.tensorrt.engine import BuiltEngine, EngineJob, build_engine
from tasks.tensorrt.profiling import ProfiledEngine, profile_engine
from tasks.tensorrt.site import BuildSite
from tasks.tensorrt.toolchain import Toolchain
from tests.stand_in.toolchain import H100, StandIn

RUN_MS = 10.0
LOOK = 1e-3  # a look at the stand-in's clock takes a microsecond
ALONE = {"others": (), "shows_own": True, "busy": 0, "held_back": 0, "used_mib": 4.0}
SHAPES = {"x": ShapeRange(min=(1, 3, 32, 32), opt=(4, 3, 32, 32), max=(8, 3, 32, 32))}


@pytest.fixture(scope="module")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    """A stand-in whose inferences take ten milliseconds of its own clock, however busy this machine is."""
    from tests.stand_in.toolchain import write_toolchain  # noqa: PLC0415 (its fixture is not of the module)

    folder = tmp_path_factory.mktemp("toolchain") / "stand-in"
    return write_toolchain(folder, version="10.13.3.9", run_seconds=RUN_MS / 1000, counted=True)


def closed_off(made: StandIn) -> Toolchain:
    return Toolchain(interpreter=str(made.interpreter), flavour=Flavour.TENSORRT, on_gpu=Confinement.DEVICE)


@pytest.fixture(scope="module")
def built(
    toolchain: StandIn,
    conv_net: Callable[..., Path],
    limits: Limits,
    tmp_path_factory: pytest.TempPathFactory,
) -> BuiltEngine:
    job = EngineJob(
        toolchain=closed_off(toolchain),
        target=EngineTarget(
            flavour=Flavour.TENSORRT,
            version=TensorRTVersion.parse("10.13.3.9"),
            gpu=H100.name,
            compute_capabilities=(ComputeCapability.parse(H100.compute),),
            os="linux",
            architecture="x86_64",
        ),
        onnx=conv_net(),
        precision=Precision.FP32,
        shapes=SHAPES,
        workspace_mib=64,
        optimization_level=3,
        gpu_index=0,
    )
    return asyncio.run(
        build_engine(job, work=Workspace(folder=tmp_path_factory.mktemp("engine"), limits=limits))
    )


@pytest.fixture
def measure(
    toolchain: StandIn, built: BuiltEngine, tmp_path: Path, limits: Limits
) -> Callable[..., ProfiledEngine]:
    """A function that measures the engine, within some seconds, with a stand-in that behaves so."""

    def run(seconds: float = 1.0, engine: BuiltEngine = built, **behaviour: Any) -> ProfiledEngine:
        toolchain.becomes(**{"management": ALONE, "fault": ""} | behaviour)
        reference = tmp_path / "reference.npz"
        corners = [
            Corner(name, {"x": np.ones(shape, np.float32)}, {"y": np.ones((shape[0], 10), np.float32)}, {})
            for name, shape in SHAPES["x"].corners.items()
        ]
        write_reference(reference, corners)
        site = BuildSite(
            toolchain=closed_off(toolchain),
            gpu_index=0,
            gpu_uuid=H100.uuid,
        )
        bounded = replace(limits, seconds=max(2 * seconds, 30.0))
        return asyncio.run(
            profile_engine(
                engine, site, reference, work=Workspace(folder=tmp_path, limits=bounded), most_seconds=seconds
            )
        )

    return run


def test_every_corner_and_the_batches_between_are_measured(measure: Callable[..., ProfiledEngine]) -> None:
    profiled = measure(seconds=30.0)
    profile = profiled.profile
    assert (profile.state, profile.reason) == (Measured.MEASURED, "")
    assert (profile.gpu, profile.tensorrt) == (H100.name, "10.13.3.9")
    assert [(case.name, case.batch) for case in profile.cases] == [
        ("min", 1), ("batch 2", 2), ("opt", 4), ("max", 8)
    ]  # fmt: skip
    for case in profile.cases:
        assert case.shapes == {"x": (case.batch, 3, 32, 32)}
        assert case.iterations >= 50
        for times in (case.gpu_ms, case.wall_ms):
            assert times.min <= times.p50 <= times.p90 <= times.p99
            assert (times.min, times.mean, times.p99) == pytest.approx([RUN_MS] * 3, rel=LOOK)
        assert case.batch is not None
        assert case.items_per_second == pytest.approx(1000 * case.batch / RUN_MS, rel=LOOK)
        assert case.over_bare == pytest.approx(0, abs=LOOK)
        assert case.layers_ms == pytest.approx(RUN_MS, rel=LOOK)


def test_the_layers_are_told_in_full_in_a_file(measure: Callable[..., ProfiledEngine]) -> None:
    profiled = measure()
    document = json.loads(profiled.paths["profile.json"].read_text("utf-8"))
    assert profiled.profile.files.keys() == {"profile.json"}
    cases = {case["name"]: case for case in document["cases"]}
    layers = cases["opt"]["layers"]
    assert len({layer["name"] for layer in layers}) == len(layers) == profiled.profile.layer_count > 3
    assert all(layer["median_ms"] > 0 and layer["mean_ms"] > 0 for layer in layers)
    opt = next(case for case in profiled.profile.cases if case.name == "opt")
    assert opt.layers_ms == pytest.approx(sum(layer["mean_ms"] for layer in layers))
    assert sum(layer.share for layer in profiled.profile.layers) <= 1 + 1e-9
    assert [layer.ms for layer in profiled.profile.layers] == sorted(
        (layer.ms for layer in profiled.profile.layers), reverse=True
    )
    assert [state["moment"] for state in document["states"]] == [
        "before", "opened", *["busy"] * len(cases), "after"
    ]  # fmt: skip


def test_memory_and_clocks_are_told(measure: Callable[..., ProfiledEngine]) -> None:
    profile = measure().profile
    assert profile.memory is not None
    assert profile.memory.total == H100.memory_mib
    assert 8 * 3 * 32 * 32 * 4 / (1 << 20) < profile.memory.used < 50
    assert profile.clocks is not None
    assert (profile.clocks.sm_mhz, profile.clocks.memory_mhz) == ((1980, 1980), (2619, 2619))
    assert (profile.clocks.temperature_c, profile.clocks.power_w) == (41, 123.0)


def reason(profile: Profile) -> str:
    assert profile.quiet is not None
    return profile.quiet.reason


def test_a_gpu_that_others_use_is_marked(measure: Callable[..., ProfiledEngine]) -> None:
    profile = measure(management=ALONE | {"others": (1, 7)}).profile
    assert profile.state is Measured.MEASURED
    assert profile.quiet is not None
    assert profile.quiet.quiet is False
    assert "other processes were on the GPU: 1, 7" in reason(profile)


def test_a_gpu_that_is_hot_or_busy_is_marked(measure: Callable[..., ProfiledEngine]) -> None:
    profile = measure(management=ALONE | {"busy": 30, "held_back": 0x4 | 0x40}).profile
    assert profile.quiet is not None
    assert profile.quiet.quiet is False
    assert "busy 30 % of the time before" in reason(profile)
    assert "busy 30 % of the time after" in reason(profile)
    assert "throttled: HwThermalSlowdown" in reason(profile)
    assert profile.clocks is not None
    assert profile.clocks.throttled == ("HwThermalSlowdown", "SwPowerCap")


def test_alone_nothing_but_the_times_can_speak_against_it(measure: Callable[..., ProfiledEngine]) -> None:
    """This machine may be busy, and then the times move, which is told."""
    for management in (ALONE, ALONE | {"shows_own": False}):
        profile = measure(management=management).profile
        assert profile.quiet is not None
        if profile.quiet.quiet is False:
            assert all(" moved by " in part for part in reason(profile).split("; "))
        else:
            assert profile.quiet.quiet is True


def test_without_the_library_nothing_is_claimed(measure: Callable[..., ProfiledEngine]) -> None:
    profile = measure(management="absent").profile
    assert profile.quiet is not None
    assert profile.quiet.quiet is not True
    assert profile.clocks is not None
    assert profile.clocks.sm_mhz is None


def test_where_there_is_no_time_the_corners_are_measured_and_the_rest_is_named(
    measure: Callable[..., ProfiledEngine],
) -> None:
    profile = measure(seconds=0.0).profile
    assert [case.name for case in profile.cases] == ["min", "opt", "max"]
    assert all(0 < case.iterations < 50 for case in profile.cases)
    assert profile.reason == "there was no time for batch 2"


def test_other_bytes_are_never_measured(
    measure: Callable[..., ProfiledEngine], built: BuiltEngine, tmp_path: Path
) -> None:
    other = tmp_path / "other.plan"
    other.write_bytes(built.plan.read_bytes()[:-1] + b"?")
    with pytest.raises(DigestMismatch):
        measure(engine=replace(built, plan=other))


def test_an_engine_that_stops_is_an_error(measure: Callable[..., ProfiledEngine]) -> None:
    with pytest.raises(GpuUnavailable, match="out of memory"):
        measure(fault="gpu-memory-run")


@pytest.mark.skipif(find_spec("pycuda") is not None, reason="pycuda is installed here")
def test_without_pycuda_it_says_so(
    rtx: Toolchain, built: BuiltEngine, tmp_path: Path, limits: Limits
) -> None:
    reference = tmp_path / "reference.npz"
    x = {"x": np.ones((1, 3, 32, 32), np.float32)}
    write_reference(reference, [Corner("opt", x, {"y": np.ones((1, 10), np.float32)}, {})])
    site = BuildSite(toolchain=rtx, gpu_index=0, gpu_uuid=None)
    with pytest.raises(RunnerMissing, match="pycuda"):
        asyncio.run(profile_engine(built, site, reference, work=Workspace(folder=tmp_path, limits=limits)))
