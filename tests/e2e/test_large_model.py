"""A model of more than 2 GiB: converted, lowered, compared and built, within three times its weights."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.record import WEIGHTS_FILE
from tasks.domain.request import Precision, ShapeRange
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour
from tasks.onnx.graph import GraphWanted, LoweredGraph, compare_graph, lower_graph
from tasks.tensorflow.models import ConversionWanted, Converted, convert_saved_model
from tasks.tensorrt.engine import EngineJob, build_engine
from tasks.tensorrt.toolchain import Toolchain, probe_toolchain

LIMITS = Limits(memory_mib=16384, seconds=1500)
SHAPES = {"x": ShapeRange(min=(1, 64), opt=(2, 64), max=(4, 64))}
BUILDER = Path(__file__).parent.parent / "assets" / "build_large_model.py"
pytestmark = pytest.mark.timeout(3000)


@pytest.fixture(scope="module")
def work(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not pytestconfig.getoption("--big"):
        pytest.skip("give --big to convert and build a model of more than 2 GiB (8 GB of memory, 20 of disk)")
    return tmp_path_factory.mktemp("big")


@pytest.fixture(scope="module")
def converted(work: Path) -> Converted:
    subprocess.run([sys.executable, BUILDER, work / "model"], check=True, capture_output=True)
    wanted = ConversionWanted(signature=None, shapes=SHAPES, opset=17, samples=None)
    return asyncio.run(
        convert_saved_model(work / "model", wanted, work=Workspace(folder=work, limits=LIMITS))
    )


@pytest.fixture(scope="module")
def lowered(converted: Converted, work: Path) -> Callable[[Precision], LoweredGraph]:
    def lower(precision: Precision) -> LoweredGraph:
        wanted = GraphWanted(precision=precision, opset=17)
        return asyncio.run(lower_graph(converted.onnx, wanted, work=Workspace(folder=work, limits=LIMITS)))

    return lower


def weights_mib(path: Path | None) -> float:
    assert path is not None
    assert path.name == WEIGHTS_FILE
    return path.stat().st_size / (1 << 20)


@pytest.fixture(scope="module")
def three_times(converted: Converted) -> float:
    """The most memory that a child may take, in MiB."""
    size = weights_mib(converted.weights)
    assert size > 2048
    return 3 * size


def test_the_conversion_takes_little_more_than_the_weights(converted: Converted, three_times: float) -> None:
    assert converted.peak_mib < three_times / 2
    assert converted.onnx.stat().st_size < 1 << 20


@pytest.mark.parametrize(
    ("precision", "share", "tolerance"), [(Precision.FP32, 1, 1e-4), (Precision.FP16, 0.5, 2e-2)]
)
def test_a_lowered_graph_computes_the_same(
    lowered: Callable[[Precision], LoweredGraph],
    converted: Converted,
    work: Path,
    three_times: float,
    precision: Precision,
    share: float,
    tolerance: float,
) -> None:
    graph = lowered(precision)
    assert weights_mib(graph.weights) == pytest.approx(share * three_times / 3, rel=0.01)
    assert graph.peak_mib < three_times
    rows = asyncio.run(
        compare_graph(graph.onnx, converted.reference, work=Workspace(folder=work, limits=LIMITS))
    )
    assert all(row.relative < tolerance for row in rows)


def test_tensorrt_rtx_builds_it(
    lowered: Callable[[Precision], LoweredGraph], work: Path, three_times: float
) -> None:
    graph = lowered(Precision.FP32)
    rtx = Toolchain(interpreter=sys.executable, flavour=Flavour.RTX)
    host = asyncio.run(probe_toolchain(rtx, work=Workspace(folder=work, limits=LIMITS)))
    target = EngineTarget(
        flavour=Flavour.RTX,
        version=host.version,
        gpu=None,
        compute_capabilities=(ComputeCapability.parse("8.9"),),
        os=host.os,
        architecture=host.architecture,
    )
    job = EngineJob(
        toolchain=rtx,
        target=target,
        onnx=graph.onnx,
        precision=Precision.FP32,
        shapes=SHAPES,
        workspace_mib=1024,
        optimization_level=3,
        gpu_index=None,
    )
    built = asyncio.run(build_engine(job, work=Workspace(folder=work, limits=LIMITS)))
    assert built.ref.size > 2 << 30
    # TensorRT holds the weights; the second time is the weights file, which it maps. The plan is streamed.
    assert built.peak_mib < 0.8 * three_times
    built.plan.unlink()
