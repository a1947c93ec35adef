"""Small graphs in ONNX's own text form, and onnxruntime without its optimisations to run them."""

from __future__ import annotations

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
