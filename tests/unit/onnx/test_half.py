"""FP16 casts: the graph stays valid, its interface stays, and its numbers stay close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from tasks.onnx.half import cast_to_half, to_half
from tasks.onnx.structure import all_nodes, interface

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]

RNG = np.random.default_rng(3)


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a checked FP16 copy with every type inferred."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    cast_to_half(copy)
    del copy.graph.value_info[:]
    onnx.checker.check_model(copy)
    inferred = onnx.shape_inference.infer_shapes(copy, check_type=True, strict_mode=True, data_prop=True)
    assert interface(inferred.graph) == interface(model.graph)
    return inferred


def input_types(model: onnx.ModelProto, operation: str) -> list[int]:
    graph = model.graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    (node,) = (node for node in graph.node if node.op_type == operation)
    return [types[name] for name in node.input if name]


def test_the_work_is_done_in_half_and_the_weights_take_half_the_space(
    network: onnx.ModelProto, run_graph: Run
) -> None:
    half = halved(network)
    image = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
    (wanted,), (found,) = run_graph(network, {"image": image}), run_graph(half, {"image": image})
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert not np.array_equal(found, wanted)
    for operation in ("Conv", "Relu", "MatMul", "Softmax"):
        assert set(input_types(half, operation)) == {TensorProto.FLOAT16}
    assert {tensor.data_type for tensor in half.graph.initializer} == {TensorProto.FLOAT16}
    assert sum(node.op_type == "Cast" for node in half.graph.node) == 2


@pytest.mark.parametrize("masked", [-1e9, float(np.finfo(np.float32).min)])
@pytest.mark.parametrize(
    "apply",
    [
        "one = Cast <to = 1> (hide)  penalty = Mul (one, masked)  score = Add (x, penalty)",
        "score = Where (hide, masked, x)",
        "one = Cast <to = 1> (hide)  p = Mul (one, masked)  once = Add (x, p)  score = Add (once, p)",
    ],
)
def test_masks_beyond_fp16_give_finite_attention(
    parse: Parse, run_graph: Run, apply: str, masked: float
) -> None:
    model = parse(
        f"g (float[n, k] x, bool[n, k] hide) => (float[n, k] y) {{ {apply} y = Softmax (score) }}",
        masked=np.float32(masked),
    )
    hide = np.array([[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    feeds = {"x": np.full((3, 4), -7, np.float32), "hide": hide}
    (wanted,) = run_graph(model, feeds)
    (found,) = run_graph(halved(model), feeds)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[[0, 2]], wanted[[0, 2]], atol=1e-3)


def test_a_mask_computed_from_shapes_alone_stays_finite(parse: Parse, run_graph: Run) -> None:
    model = parse(
        """
        g (float[k, k] x) => (float[k, k] y) {
            shape = Shape (x)
            ones = ConstantOfShape <value = float[1] {1.0}> (shape)
            later = Trilu <upper = 1> (ones, diagonal)
            penalty = Mul (later, masked)
            hidden = ConstantOfShape <value = float[1] {-1000000000.0}> (shape)
            once = Add (x, penalty)
            score = Where (never, hidden, once)
            y = Softmax (score)
        }
        """,
        diagonal=np.int64(1),
        masked=np.float32(-1e9),
        never=np.array([False]),
    )
    feeds = {"x": RNG.normal(size=(6, 6)).astype(np.float32) - 9}
    (wanted,), (found,) = run_graph(model, feeds), run_graph(halved(model), feeds)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert found[0, 0] == 1


def test_sizes_are_not_computed_in_half(parse: Parse, run_graph: Run) -> None:
    model = parse(
        """
        g (float[n, 1] x) => (float[m] y) {
            shape = Shape (x)
            size = Gather (shape, zero)
            wide = Cast <to = 1> (size)
            twice = Mul (wide, two)
            more = Add (twice, one)
            count = Cast <to = 7> (more)
            flat = Flatten <axis = 0> (x)
            row = Squeeze (flat, zero)
            first = Slice (row, zero, one_int)
            root = Sqrt (first)
            y = Expand (root, count)
        }
        """,
        zero=np.array([0], np.int64),
        one_int=np.array([1], np.int64),
        two=np.float32(2),
        one=np.float32(1),
    )
    (found,) = run_graph(halved(model), {"x": np.full((2050, 1), 9, np.float32)})
    assert found.shape == (4101,)
    assert (found == 3).all()


@pytest.mark.parametrize("arguments", ["warm, , scales", "warm, , , sizes", "warm, roi, scales"])
def test_resize_keeps_its_output_size(parse: Parse, run_graph: Run, arguments: str) -> None:
    model = parse(
        f"""
        g (float[1, 2, h, w] x) => (float[1, 2, p, q] y) {{
            shape = Shape (x)
            floats = Cast <to = 1> (shape)
            wide = Div (wanted, floats)
            scales = Identity (wide)
            sizes = Cast <to = 7> (wanted)
            warm = Abs (x)
            y = Resize <mode = "linear"> ({arguments})
        }}
        """,
        wanted=np.array([1, 2, 30, 1023], np.float32),
        roi=np.zeros(0, np.float32),
    )
    feeds = {"x": RNG.normal(size=(1, 2, 7, 11)).astype(np.float32)}
    (wanted,), (found,) = run_graph(model, feeds), run_graph(halved(model), feeds)
    assert found.shape == wanted.shape == (1, 2, 30, 1023)
    np.testing.assert_allclose(found, wanted, atol=5e-3)


def test_operations_without_a_half_form_keep_single(parse: Parse, run_graph: Run) -> None:
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
    half = halved(model)
    for operation, inputs in (("TopK", 1), ("Range", 3), ("CumSum", 1), ("QuantizeLinear", 2)):
        assert input_types(half, operation)[:inputs] == [TensorProto.FLOAT] * inputs, operation
    assert set(input_types(half, "Mul")) == {TensorProto.FLOAT16}
    feeds = {"x": np.array([1, -3, 2, 0.5], np.float32)}
    for wanted, found in zip(run_graph(model, feeds), run_graph(half, feeds), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_bodies_stay_single_and_what_they_capture_is_cast(parse: Parse, run_graph: Run) -> None:
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
    half = halved(model)
    (loop,) = (node for node in half.graph.node if node.op_type == "Loop")
    original = next(node for node in model.graph.node if node.op_type == "Loop")
    assert list(all_nodes(loop.attribute[0].g)) == list(all_nodes(original.attribute[0].g))
    assert set(input_types(half, "Tanh")) == {TensorProto.FLOAT16}
    for sign in (1, -1):
        x = sign * np.array([[1, 2], [0.5, 3]], np.float32)
        feeds = {"x": x, "go": np.array(True)}
        (wanted,), (found,) = run_graph(model, feeds), run_graph(half, feeds)
        np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_bounds_keep_the_range_of_half(parse: Parse, run_graph: Run) -> None:
    model = parse(
        "g (float[n] x) => (float[n] y, float[n] z) { y = Clip (x, low, high) z = Mul (x, high) }",
        low=np.float32(-3e38),
        high=np.float32(3e38),
    )
    y, z = run_graph(halved(model), {"x": np.array([65504, -65504, 0.5], np.float32)})
    assert y.tolist() == [65504, -65504, 0.5]
    assert z[2] == 65504 / 4


def test_names_that_are_taken_and_outputs_that_are_read_again(parse: Parse, run_graph: Run) -> None:
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
    for wanted, found in zip(run_graph(model, feeds), run_graph(halved(model), feeds), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_graph_of_integers_stays_as_it_is(parse: Parse) -> None:
    model = parse("g (int64[n] x) => (int64[n] y) { y = Add (x, x) }")
    assert [node.op_type for node in halved(model).graph.node] == ["Add"]


@settings(max_examples=60, deadline=None)
@given(st.floats(width=32))
def test_to_half_keeps_sign_finiteness_and_what_is_not_zero(value: float) -> None:
    half = float(to_half(np.array([value], np.float32))[0])
    if np.isnan(value):
        assert np.isnan(half)
        return
    assert np.isfinite(half) == np.isfinite(value)
    assert np.sign(half) == np.sign(value)
    if 2**-14 <= abs(value) <= 65504:
        assert abs(half - value) <= abs(value) * 2**-11
