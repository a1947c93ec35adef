"""Small graphs in ONNX's own text form, and onnxruntime without its optimisations to run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from tasks.onnx.casts import cast_to
from tasks.onnx.emulate import emulate
from tasks.onnx.low_float import FP16
from tasks.onnx.structure import interface

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]
Halve = Callable[[onnx.ModelProto], onnx.ModelProto]

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


@pytest.fixture(scope="session")
def halved() -> Halve:
    """Return a checked FP16 copy of a graph, with every type inferred."""

    def halve(model: onnx.ModelProto) -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        cast_to(copy, FP16)
        del copy.graph.value_info[:]
        onnx.checker.check_model(copy)
        inferred = onnx.shape_inference.infer_shapes(copy, check_type=True, strict_mode=True, data_prop=True)
        assert interface(inferred.graph) == interface(model.graph)
        return inferred

    return halve


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
