"""Small graphs in ONNX's own text form, and onnxruntime without its optimisations to run them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from tasks.domain.gpu_table import graph_opset
from tasks.domain.request import Precision
from tasks.onnx.casts import cast_to
from tasks.onnx.emulate import emulate
from tasks.onnx.low_float import BF16, FP16, LowFloat
from tasks.onnx.opset import in_opset
from tasks.onnx.structure import interface

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]
Lower = Callable[[onnx.ModelProto], onnx.ModelProto]

BUILD_FOR_SM89 = """
import json, sys
import tensorrt_rtx as trt
logger = trt.Logger(trt.Logger.WARNING)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
assert parser.parse_from_file(sys.argv[1]), parser.get_error(0).desc()
config = builder.create_builder_config()
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM89, 0)
profile = builder.create_optimization_profile()
rest = json.loads(sys.argv[2])
profile.set_shape(network.get_input(0).name, *([batch, *rest] for batch in (1, 4, 8)))
config.add_optimization_profile(profile)
plan = builder.build_serialized_network(network, config)
layers = [network.get_layer(i) for i in range(network.num_layers)]
print(json.dumps({
    "bytes": plan.nbytes,
    "types": [layer.get_output(0).dtype.name for layer in layers if layer.num_outputs],
    "inputs": [str(network.get_input(i).dtype) for i in range(network.num_inputs)],
    "outputs": [str(network.get_output(i).dtype) for i in range(network.num_outputs)],
}))
"""
HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'


@pytest.fixture(scope="session")
def parse() -> Parse:
    """Read a graph in text form; weights are given by name."""

    def read(text: str, **weights: npt.NDArray[Any]) -> onnx.ModelProto:
        model = onnx.parser.parse_model(HEADER + text)
        model.graph.initializer.extend(numpy_helper.from_array(w, name) for name, w in weights.items())
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)

    return read


@pytest.fixture(scope="session")
def run_graph() -> Run:
    """Run a graph on the CPU, FP16 and BF16 emulated, and return its outputs in order."""

    def run(model: onnx.ModelProto, feeds: Arrays) -> list[npt.NDArray[Any]]:
        runnable = onnx.ModelProto()
        runnable.CopyFrom(model)
        emulate(runnable)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(
            runnable.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return [np.asarray(value) for value in session.run(None, feeds)]

    return run


@pytest.fixture(scope="session")
def run_rounding() -> Run:
    """Run a graph in NumPy, which rounds after every node; onnxruntime's CPU keeps FP32 between nodes."""

    def run(model: onnx.ModelProto, feeds: Arrays) -> list[npt.NDArray[Any]]:
        return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, feeds)]

    return run


@pytest.fixture(scope="session", params=[FP16, BF16], ids=lambda low: low.name)
def low(request: pytest.FixtureRequest) -> LowFloat:
    """FP16, then BF16."""
    return cast("LowFloat", request.param)


@pytest.fixture(scope="session")
def close(low: LowFloat) -> float:
    """What a handful of roundings may come to, for values of about 1."""
    return 2e-3 if low is FP16 else 1.6e-2


@pytest.fixture(scope="session")
def lowered(low: LowFloat) -> Lower:
    """Return a checked copy of a graph in FP16 or BF16, with every type inferred."""

    def lower(model: onnx.ModelProto) -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        copy = inferred(in_opset(copy, graph_opset(17, Precision(low.name))))
        cast_to(copy, low)
        copy = inferred(copy)
        assert interface(copy.graph) == interface(model.graph)
        return copy

    return lower


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


@pytest.fixture(scope="session")
def build_rtx() -> Callable[[Path, tuple[int, ...]], dict[str, Any]]:
    """Build a graph of one input for SM89, with a batch of 1 to 8 before the other dimensions."""

    def build(path: Path, rest: tuple[int, ...]) -> dict[str, Any]:
        command = [sys.executable, "-c", BUILD_FOR_SM89, str(path), json.dumps(rest)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return cast("dict[str, Any]", json.loads(done.stdout.splitlines()[-1]))

    return build


@pytest.fixture(scope="session")
def network(parse: Parse) -> onnx.ModelProto:
    """Convolution, activation, pooling and scores, with a dynamic batch and nodes to simplify."""
    rng = np.random.default_rng(5)
    return parse(
        """
        network (float[n, 3, 8, 8] image) => (float[n, 5] scores) {
            same = Identity (image)
            features = Conv <pads = [1, 1, 1, 1]> (same, kernel, bias)
            active = Relu (features)
            pooled = GlobalAveragePool (active)
            flat = Flatten (pooled)
            again = Identity (flat)
            logits = MatMul (again, dense)
            scores = Softmax (logits)
        }
        """,
        kernel=rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        bias=rng.normal(size=4).astype(np.float32),
        dense=rng.normal(size=(4, 5)).astype(np.float32),
    )


@pytest.fixture
def network_file(network: onnx.ModelProto, tmp_path: Path) -> Path:
    path = tmp_path / "raw.onnx"
    onnx.save(network, path)
    return path


@pytest.fixture(scope="session")
def residual(parse: Parse) -> onnx.ModelProto:
    """Every product that can be quantised, a shortcut, biases, and a channel whose weights are zero."""
    rng = np.random.default_rng(7)

    def drawn(*shape: int) -> npt.NDArray[np.float32]:
        return np.asarray(
            (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32), np.float32
        )

    stem = drawn(16, 16, 3, 3)
    stem[3] = 0
    return parse(
        """
        residual (float[n, 16, 8, 8] x) => (float[n, 5] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, stem, stem_bias)
            b = Relu (a)
            c = Conv <pads = [1, 1, 1, 1]> (b, inner, inner_bias)
            d = Relu (c)
            e = Conv (d, last)
            f = Add (e, b)
            g = Relu (f)
            up = ConvTranspose <strides = [2, 2]> (g, turn)
            p = GlobalAveragePool (up)
            q = Flatten (p)
            r = Gemm <transB = 1> (q, wide, wide_bias)
            s = MatMul (r, dense)
            y = Softmax (s)
        }
        """,
        stem=stem,
        stem_bias=drawn(16),
        inner=drawn(16, 16, 3, 3),
        inner_bias=drawn(16),
        last=drawn(16, 16, 1, 1),
        turn=drawn(16, 8, 2, 2),
        wide=8 * drawn(12, 8),
        wide_bias=drawn(12),
        dense=4 * drawn(12, 5),
    )


@pytest.fixture(scope="session")
def in_opset_19() -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    """Lift a graph to the first opset that has FP8, with every type inferred."""
    return lambda model: inferred(in_opset(model, 19))
