"""Small graphs and a real toolchain: TensorRT-RTX builds engines without a GPU."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.request import Precision, ShapeRange
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour
from tasks.tensorrt.engine import BuiltEngine, EngineJob, build_engine
from tasks.tensorrt.toolchain import Toolchain, ToolchainProbe, probe_toolchain
from tests.stand_in.toolchain import StandIn

MIB = 4096
BATCH = ShapeRange(min=(1, 3, 32, 32), opt=(4, 3, 32, 32), max=(8, 3, 32, 32))


@pytest.fixture(scope="session")
def limits() -> Limits:
    return Limits(memory_mib=MIB)


@pytest.fixture(scope="session")
def rtx() -> Toolchain:
    return Toolchain(interpreter=sys.executable, flavour=Flavour.RTX)


@pytest.fixture(scope="session")
def rtx_probe(rtx: Toolchain, limits: Limits, tmp_path_factory: pytest.TempPathFactory) -> ToolchainProbe:
    return asyncio.run(
        probe_toolchain(rtx, work=Workspace(folder=tmp_path_factory.mktemp("probe"), limits=limits))
    )


@pytest.fixture(scope="session")
def rtx_target(rtx_probe: ToolchainProbe) -> Callable[..., EngineTarget]:
    """A function that returns the target of TensorRT-RTX for some compute capabilities."""

    def target(*capabilities: str) -> EngineTarget:
        return EngineTarget(
            flavour=Flavour.RTX,
            version=rtx_probe.version,
            gpu=None,
            compute_capabilities=tuple(ComputeCapability.parse(text) for text in capabilities),
            os=rtx_probe.os,
            architecture=rtx_probe.architecture,
        )

    return target


@pytest.fixture(scope="session")
def save_graph(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that writes a graph of nodes, one input x and one output y."""
    folder = tmp_path_factory.mktemp("graphs")

    def save(
        nodes: list[onnx.NodeProto],
        shape: list[int | str],
        weights: dict[str, np.ndarray] | None = None,
        dtype: int = onnx.TensorProto.FLOAT,
        out_shape: list[int | str] | None = None,
    ) -> Path:
        graph = helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("x", dtype, shape)],
            [helper.make_tensor_value_info("y", dtype, out_shape or shape)],
            [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
        )
        opset = [helper.make_opsetid("", 22)]
        path = folder / f"{len(list(folder.iterdir()))}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
        return path

    return save


@pytest.fixture(scope="session")
def conv_net(save_graph: Callable[..., Path]) -> Callable[..., Path]:
    """A function that writes a convolutional classifier of so many layers and an element type."""

    def make(layers: int = 2, kind: int = TensorProto.FLOAT) -> Path:
        rng = np.random.default_rng(0)
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        weights = {"dense": rng.standard_normal((16, 10)).astype(dtype)}
        nodes = [helper.make_node("Cast", ["x"], ["h0"], to=kind)]
        for layer in range(layers):
            shape = (16, 16 if layer else 3, 3, 3)
            weights[f"w{layer}"] = (rng.standard_normal(shape) * 0.1).astype(dtype)
            nodes += [
                helper.make_node("Conv", [f"h{layer}", f"w{layer}"], [f"c{layer}"], pads=[1] * 4),
                helper.make_node("Relu", [f"c{layer}"], [f"h{layer + 1}"]),
            ]
        nodes += [
            helper.make_node("GlobalAveragePool", [f"h{layers}"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "dense"], ["scores"], name="dense"),
            helper.make_node("Cast", ["scores"], ["y"], to=onnx.TensorProto.FLOAT),
        ]
        return save_graph(nodes, ["N", 3, 32, 32], weights, out_shape=["N", 10])

    return make


@pytest.fixture(scope="session")
def quantised_net(save_graph: Callable[..., Path]) -> Callable[[int], Path]:
    """A function that writes a convolution between Q/DQ pairs of a type, its weights quantised by channel."""

    def make(kind: int) -> Path:
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        kernel = np.random.default_rng(0).standard_normal((16, 3, 3, 3)).astype(np.float32)
        most = 127 if kind == TensorProto.INT8 else 448
        step = np.abs(kernel).max(axis=(1, 2, 3)) / most
        codes = kernel / step[:, None, None, None]
        weights = {
            "codes": (np.rint(codes) if kind == TensorProto.INT8 else codes).astype(dtype),
            "step": step,
            "zeros": np.zeros(16, dtype),
            "input_step": np.float32(0.05),
            "zero": np.zeros((), dtype),
        }
        pair = ["input_step", "zero"]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", *pair], ["xq"]),
            helper.make_node("DequantizeLinear", ["xq", *pair], ["xd"]),
            helper.make_node("DequantizeLinear", ["codes", "step", "zeros"], ["kernel"], axis=0),
            helper.make_node("Conv", ["xd", "kernel"], ["c"], pads=[1] * 4),
            helper.make_node("Relu", ["c"], ["y"]),
        ]
        return save_graph(nodes, ["N", 3, 32, 32], weights, out_shape=["N", 16, 32, 32])

    return make


@pytest.fixture(scope="session")
def job(rtx: Toolchain, rtx_target: Callable[..., EngineTarget]) -> Callable[..., EngineJob]:
    """A function that returns a job for a graph: FP32 on SM89 with a batch of 1 to 8, or otherwise."""

    def make(
        onnx_file: Path,
        *capabilities: str,
        precision: Precision = Precision.FP32,
        shapes: dict[str, ShapeRange] | None = None,
    ) -> EngineJob:
        return EngineJob(
            toolchain=rtx,
            target=rtx_target(*(capabilities or ("8.9",))),
            onnx=onnx_file,
            precision=precision,
            shapes={"x": BATCH} if shapes is None else shapes,
            workspace_mib=256,
            optimization_level=3,
            gpu_index=None,
        )

    return make


@pytest.fixture
def build(tmp_path: Path, limits: Limits) -> Callable[[EngineJob], BuiltEngine]:
    """A function that builds a job below `tmp_path`."""

    def run(engine_job: EngineJob) -> BuiltEngine:
        return asyncio.run(build_engine(engine_job, work=Workspace(folder=tmp_path, limits=limits)))

    return run


@pytest.fixture(scope="session")
def build_below(
    conv_net: Callable[..., Path], limits: Limits
) -> Callable[..., tuple[Toolchain, BuiltEngine]]:
    """A function that builds `conv_net(1)` with a stand-in toolchain below a folder, in a form."""

    def run(stand_in: StandIn, folder: Path, **form: Any) -> tuple[Toolchain, BuiltEngine]:
        work = Workspace(folder=folder, limits=limits)
        toolchain = Toolchain(interpreter=str(stand_in.interpreter), flavour=Flavour.TENSORRT)
        probe = asyncio.run(probe_toolchain(toolchain, work=work))
        toolchain = probe.toolchain
        job = EngineJob(
            toolchain=toolchain, target=probe.targets()[0], onnx=conv_net(1), precision=Precision.FP32,
            shapes={"x": BATCH}, workspace_mib=64, optimization_level=0, gpu_index=0,
        )  # fmt: skip
        return toolchain, asyncio.run(build_engine(replace(job, **form), work=work))

    return run


@pytest.fixture
def build_on(
    build_below: Callable[..., tuple[Toolchain, BuiltEngine]], tmp_path: Path
) -> Callable[[StandIn], tuple[Toolchain, BuiltEngine]]:
    """A function that builds `conv_net(1)` with a stand-in toolchain below `tmp_path`."""
    return lambda stand_in: build_below(stand_in, tmp_path)
