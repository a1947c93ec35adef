"""Operations that the request leaves to TensorRT plugins stay in the graph; all others are still refused."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import onnx
import pytest

from tasks.children.plugin_domain import PLUGIN_DOMAIN
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import BuildRefused, OperationUnsupported
from tasks.domain.release import ModelFormat
from tasks.domain.request import Precision
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour
from tasks.onnx.graph import GraphWanted, lower_graph
from tasks.tensorflow.models import (
    ConversionWanted,
    Converted,
    LocalModel,
    convert_saved_model,
    export_saved_model,
)
from tasks.tensorrt.engine import EngineJob, build_engine
from tasks.tensorrt.toolchain import Toolchain, probe_toolchain


@pytest.fixture(scope="module")
def saved_model(models: Path, tmp_path_factory: pytest.TempPathFactory, limits: Limits) -> Path:
    model = LocalModel(format=ModelFormat.SAVED_MODEL, path=models / "many")
    return asyncio.run(
        export_saved_model(model, work=Workspace(folder=tmp_path_factory.mktemp("many"), limits=limits))
    )


@pytest.fixture(scope="module")
def left(saved_model: Path, tmp_path_factory: pytest.TempPathFactory, limits: Limits) -> Converted:
    """The signature whose Cholesky is left to a plugin."""
    folder = tmp_path_factory.mktemp("left")
    return _convert(saved_model, folder, limits, "Cholesky", "Gelu_TRT")


def _convert(saved_model: Path, workdir: Path, limits: Limits, *plugin_ops: str) -> Converted:
    wanted = ConversionWanted(signature="factor", shapes={}, opset=17, samples=None, plugin_ops=plugin_ops)
    return asyncio.run(
        convert_saved_model(saved_model, wanted, work=Workspace(folder=workdir, limits=limits))
    )


def _foreign(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node if node.domain == PLUGIN_DOMAIN]


def test_without_a_plugin_the_operation_is_refused(saved_model: Path, tmp_path: Path, limits: Limits) -> None:
    with pytest.raises(OperationUnsupported, match="Cholesky"):
        _convert(saved_model, tmp_path, limits, "Gelu_TRT")


def test_only_what_is_really_left_is_told(left: Converted) -> None:
    assert left.plugin_ops == ("Cholesky",)
    assert _foreign(left.onnx) == ["Cholesky"]


def test_around_it_the_graph_computes_in_the_asked_precision(left: Converted, limits: Limits) -> None:
    wanted = GraphWanted(precision=Precision.FP16, opset=17)
    lowered = asyncio.run(
        lower_graph(left.onnx, wanted, work=Workspace(folder=left.onnx.parent, limits=limits))
    )
    assert _foreign(lowered.onnx) == ["Cholesky"]
    graph = onnx.load(lowered.onnx).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    nodes = {node.op_type: node for node in graph.node}
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    assert types[nodes["MatMul"].output[0]] == types[nodes["Mul"].output[0]] == half
    assert types[nodes["Cholesky"].input[0]] == types[nodes["Cholesky"].output[0]] == single


def test_tensorrt_looks_for_the_plugin_by_that_name(left: Converted, tmp_path: Path, limits: Limits) -> None:
    toolchain = Toolchain(interpreter=sys.executable, flavour=Flavour.RTX)
    probe = asyncio.run(probe_toolchain(toolchain, work=Workspace(folder=tmp_path, limits=limits)))
    job = EngineJob(
        toolchain=toolchain,
        target=EngineTarget(
            flavour=Flavour.RTX,
            version=probe.version,
            gpu=None,
            compute_capabilities=(ComputeCapability.parse("8.9"),),
            os=probe.os,
            architecture=probe.architecture,
        ),
        onnx=left.onnx,
        precision=Precision.FP32,
        shapes=left.shapes,
        workspace_mib=64,
        optimization_level=0,
        gpu_index=None,
    )
    with pytest.raises(BuildRefused, match=r"Cholesky.*[Pp]lugin"):
        asyncio.run(build_engine(job, work=Workspace(folder=tmp_path, limits=limits)))
