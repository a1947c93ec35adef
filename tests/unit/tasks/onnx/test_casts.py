"""FP16 and BF16 casts: the graph stays valid, its interface stays, and its numbers stay close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from tasks.onnx.low_float import LowFloat
from tasks.onnx.structure import all_nodes

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]
Lower = Callable[[onnx.ModelProto], onnx.ModelProto]


def input_types(model: onnx.ModelProto, operation: str) -> list[int]:
    graph = model.graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    (node,) = (node for node in graph.node if node.op_type == operation)
    return [types[name] for name in node.input if name]


def test_the_work_is_done_low_and_the_weights_take_half_the_space(
    network: onnx.ModelProto, run_graph: Run, low: LowFloat, lowered: Lower, close: float
) -> None:
    half = lowered(network)
    image = np.random.default_rng(3).normal(size=(2, 3, 8, 8)).astype(np.float32)
    (wanted,), (actual,) = run_graph(network, {"image": image}), run_graph(half, {"image": image})
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, wanted, atol=close)
    assert not np.array_equal(actual, wanted)
    for operation in ("Conv", "Relu", "MatMul", "Softmax"):
        assert set(input_types(half, operation)) == {low.onnx}
    assert {tensor.data_type for tensor in half.graph.initializer} == {low.onnx}
    assert sum(node.op_type == "Cast" for node in half.graph.node) == 2


def test_operations_without_a_low_form_keep_single(
    parse: Parse, run_graph: Run, low: LowFloat, lowered: Lower
) -> None:
    model = parse(
        """
        g (float[n] x) => (float[k] best, int64[k] places, float[m] steps, float[n] sums, uint8[n] small) {
            warm = Mul (x, x)
            best, places = TopK (warm, k)
            top = ReduceMax <keepdims = 0> (warm)
            steps = Range (start, top, step)
            sums = CumSum (warm, axis)
            small = QuantizeLinear (warm, step, point)
        }
        """,
        k=np.array([2], np.int64),
        start=np.float32(0),
        step=np.float32(0.5),
        axis=np.int64(0),
        point=np.uint8(0),
    )
    half = lowered(model)
    for operation, inputs in (("TopK", 1), ("Range", 3), ("CumSum", 1), ("QuantizeLinear", 2)):
        assert input_types(half, operation)[:inputs] == [TensorProto.FLOAT] * inputs, operation
    assert set(input_types(half, "Mul")) == {low.onnx}
    feeds = {"x": np.array([1, -3, 2, 0.5], np.float32)}
    for wanted, actual in zip(run_graph(model, feeds), run_graph(half, feeds), strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_bodies_stay_single_and_captures_are_cast(
    parse: Parse, run_graph: Run, low: LowFloat, lowered: Lower, close: float
) -> None:
    model = parse(
        """
        g (float[n, 2] x, bool go) => (float[n, 2] y) {
            a = MatMul (x, weight)
            b = Relu (a)
            state = Loop (times, go, a) <body = b (int64 i, bool c, float[n,2] s) => (bool d, float[n,2] t) {
                d = Identity (c)
                u = MatMul (s, weight)
                t = Add (u, b)
            }>
            mean = ReduceMean <keepdims = 0> (state)
            positive = Greater (mean, zero)
            z = If (positive) <
                then_branch = yes () => (float[n, 2] p) { p = Add (state, b) },
                else_branch = no () => (float[n, 2] q) { q = Sub (state, weight) }
            >
            y = Tanh (z)
        }
        """,
        weight=np.array([[0.5, 0.25], [-0.5, 0.125]], np.float32),
        times=np.int64(3),
        zero=np.float32(0),
    )
    half = lowered(model)
    (loop,) = (node for node in half.graph.node if node.op_type == "Loop")
    original = next(node for node in model.graph.node if node.op_type == "Loop")
    assert list(all_nodes(loop.attribute[0].g)) == list(all_nodes(original.attribute[0].g))
    assert set(input_types(half, "Tanh")) == {low.onnx}
    for sign in (1, -1):
        x = sign * np.array([[1, 2], [0.5, 3]], np.float32)
        feeds = {"x": x, "go": np.array(True)}
        (wanted,), (actual,) = run_graph(model, feeds), run_graph(half, feeds)
        np.testing.assert_allclose(actual, wanted, atol=close)


def test_taken_names_and_outputs_that_are_read_again(parse: Parse, run_graph: Run, lowered: Lower) -> None:
    model = parse(
        """
        g (float[n] x) => (float[n] y, float[n] x_fp16, bool[n] more, int64[1] size) {
            y = Mul (x, x)
            x_fp16 = Add (y, x)
            more = Greater (x_fp16, y)
            size = Shape (y)
        }
        """
    )
    feeds = {"x": np.array([1, -2, 3], np.float32)}
    for wanted, actual in zip(run_graph(model, feeds), run_graph(lowered(model), feeds), strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_a_graph_of_integers_stays_as_it_is(parse: Parse, lowered: Lower) -> None:
    model = parse("g (int64[n] x) => (int64[n] y) { y = Add (x, x) }")
    assert [node.op_type for node in lowered(model).graph.node] == ["Add"]
