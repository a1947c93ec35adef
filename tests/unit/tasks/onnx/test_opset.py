"""Lifting a graph to a newer opset: the same numbers, bodies and weights; what has no way is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx.external_data_helper import uses_external_data

from tasks.domain.errors import OperationUnsupported
from tasks.onnx.opset import in_opset, opset_of
from tasks.onnx.structure import all_nodes, interface

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]

LOOP = """
    g (float[n, 4] x, int64 times) => (float[n, 4] y, float[n] m, float[n, 2] left) {
        y = Loop (times, , x) <body = b (int64 i, bool c, float[n, 4] s) => (bool d, float[n, 4] t) {
            d = Identity (c)
            one = ReduceMean <axes = [1], keepdims = 1> (s)
            two = Mul (one, weight)
            t = Add (x, two)
        }>
        m = ReduceMean <axes = [1], keepdims = 0> (y)
        left, right = Split <axis = 1> (y)
    }
"""


def test_numbers_bodies_and_names_stay(parse: Parse, run_graph: Run) -> None:
    model = parse(LOOP, weight=np.float32(0.5))
    lifted = in_opset(model, 22)
    onnx.checker.check_model(lifted, full_check=True)
    assert opset_of(lifted) == 22
    assert lifted.ir_version >= 10
    assert interface(lifted.graph) == interface(model.graph)
    means = [node for node in all_nodes(lifted.graph) if node.op_type == "ReduceMean"]
    assert [len(node.input) for node in means] == [2, 2]  # since opset 18 the axes are an input
    feeds = {"x": np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32), "times": np.array(3)}
    for wanted, actual in zip(run_graph(model, feeds), run_graph(lifted, feeds), strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_a_graph_that_is_new_enough_stays(parse: Parse) -> None:
    model = parse("g (float[n] x) => (float[n] y) { y = Relu (x) }")
    assert in_opset(model, 17) is model
    assert in_opset(model, 13) is model


def test_other_domains_stay() -> None:
    text = '<ir_version: 8, opset_import: ["" : 17, "plugins" : 3]> g (float[n] x) => (float[n] y)'
    model = onnx.parser.parse_model(text + "{ z = Relu (x) y = plugins.Roi <size = 3> (z) }")
    lifted = in_opset(model, 22)
    assert {opset.domain: opset.version for opset in lifted.opset_import} == {"": 22, "plugins": 3}
    assert lifted.graph.node[1] == model.graph.node[1]


def test_weights_outside_of_the_graph_stay_there(parse: Parse, tmp_path: Path) -> None:
    model = parse("g (float[n, 8] x) => (float[n, 8] y) { y = MatMul (x, w) }", w=np.eye(8, dtype=np.float32))
    onnx.save(model, tmp_path / "g.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    model = onnx.load(tmp_path / "g.onnx", load_external_data=False)
    (weight,) = in_opset(model, 22).graph.initializer
    assert uses_external_data(weight)
    assert weight == model.graph.initializer[0]


def test_an_operation_without_a_way_is_named(parse: Parse) -> None:
    model = parse("g (float[n] x) => (float[n] y) { y = Relu (x) }")
    model.graph.node[0].op_type = "Frobnicate"
    with pytest.raises(OperationUnsupported, match=r"opset 22, from opset 17.*Frobnicate.*tf32 or fp16"):
        in_opset(model, 22)
