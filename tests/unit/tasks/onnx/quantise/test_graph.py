"""Where Q/DQ pairs go, and what they hold: the form that TensorRT fuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from tasks.children.weights import Scratch, scratch
from tasks.domain.request import Precision
from tasks.onnx.quantise.graph import QuantisedGraphs
from tasks.onnx.quantise.sites import find_sites
from tasks.onnx.quantise.work import multiply_adds
from tasks.onnx.structure import interface

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scratch]:
    monkeypatch.chdir(tmp_path)
    with scratch() as new:
        yield new


def quantised(
    model: onnx.ModelProto, room: Scratch, precision: Precision = Precision.INT8
) -> onnx.ModelProto:
    """Return all of `model` that can be in `precision`, with a range of 4 everywhere, checked."""
    sites, _ = find_sites(model, precision)
    ranges = {name: 4.0 for site in sites for name in site.activations.values()}
    made = QuantisedGraphs(model, precision, room).make(sites, ranges)
    del made.graph.value_info[:]
    onnx.checker.check_model(made)
    made = onnx.shape_inference.infer_shapes(made, check_type=True, strict_mode=True, data_prop=True)
    assert interface(made.graph) == interface(model.graph)
    return made


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def test_inputs_of_products_are_quantised_and_nothing_else(residual: onnx.ModelProto, room: Scratch) -> None:
    model = quantised(residual, room)
    made = makers(model)
    nodes = {node.output[0]: node for node in model.graph.node}
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    axes = {}
    for output in ("a", "c", "e", "up", "r", "s"):
        node = nodes[output]
        assert [made[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        assert [types[name] for name in node.input[2:]] == [TensorProto.FLOAT] * len(node.input[2:])
        weight = made[node.input[1]]
        assert types[weight.input[0]] == TensorProto.INT8
        axes[output] = weight.attribute[0].i
    assert axes == {"a": 0, "c": 0, "e": 0, "up": 1, "r": 0, "s": 1}
    # x, b, d, g, q and r: one pair each, b's also for the shortcut, which the Add after `e` reads.
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) == 6
    assert made[nodes["f"].input[1]] is made[nodes["c"].input[0]]
    assert nodes["f"].input[0] == "e"
    readers = {name for node in model.graph.node if node.op_type == "QuantizeLinear" for name in node.input}
    assert readers.isdisjoint({"a", "c", "e", "f", "up", "s"})
    assert {"stem", "inner", "last", "turn", "wide", "dense"}.isdisjoint(types)


def test_weights_are_rounded_by_channel_and_no_scale_is_zero(
    residual: onnx.ModelProto, room: Scratch
) -> None:
    model = quantised(residual, room)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    kernel = next(
        numpy_helper.to_array(tensor) for tensor in residual.graph.initializer if tensor.name == "stem"
    )
    assert not kernel[3].any()
    scale = weights["stem_scale"]
    assert scale.shape == (16,)
    assert scale[3] == 1
    assert not weights["stem_quantised"][3].any()
    largest = np.abs(kernel).max(axis=(1, 2, 3))
    np.testing.assert_allclose(scale[:3], largest[:3] / 127, rtol=1e-6)
    error = np.abs(weights["stem_quantised"] * scale[:, None, None, None] - kernel)
    assert (error <= scale[:, None, None, None] * 0.5001).all()
    assert np.abs(weights["stem_quantised"]).max() == 127
    for name, values in weights.items():
        if name.endswith("_scale"):
            assert (values > 0).all()
        if name.endswith("_zero_point"):
            assert not values.any()


def test_fp8_reaches_the_end_of_its_range_and_beyond_it_nothing(
    residual: onnx.ModelProto, room: Scratch, in_opset_19: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> None:
    model = quantised(in_opset_19(residual), room, Precision.FP8)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    assert weights["stem_quantised"].data_type == TensorProto.FLOAT8E4M3FN
    values = numpy_helper.to_array(weights["stem_quantised"]).astype(np.float32)
    assert np.isfinite(values).all()
    assert np.abs(values).max() == 448
    assert numpy_helper.to_array(weights["x_scale"]) == np.float32(4 / 448)
    # No kernel for a transposed convolution in FP8.
    assert "turn" in weights


def test_attention_multiplies_two_activations(parse: Parse, room: Scratch, run_graph: Run) -> None:
    rng = np.random.default_rng(11)
    model = parse(
        """
        g (float[n, 6, 8] x) => (float[n, 6, 8] y) {
            q = MatMul (x, wq)
            k = MatMul (x, wk)
            t = Transpose <perm = [0, 2, 1]> (k)
            s = MatMul (q, t)
            p = Softmax (s)
            y = MatMul (p, x)
        }
        """,
        wq=rng.normal(size=(8, 8)).astype(np.float32) / 8,
        wk=rng.normal(size=(8, 8)).astype(np.float32) / 8,
    )
    low = quantised(model, room)
    made = makers(low)
    products = [node for node in low.graph.node if node.op_type == "MatMul"]
    assert [made[name].op_type for node in products for name in node.input] == ["DequantizeLinear"] * 8
    feeds = {"x": rng.normal(size=(2, 6, 8)).astype(np.float32)}
    (wanted,), (actual,) = run_graph(model, feeds), run_graph(low, feeds)
    np.testing.assert_allclose(actual, wanted, atol=0.1)
    assert multiply_adds(model, {"x": (2, 6, 8)}) == {0: 768, 1: 768, 3: 576, 5: 576}


def test_bodies_integers_and_other_floats_are_counted_and_stay(parse: Parse) -> None:
    model = parse(
        """
        g (float[n, 2] x, float16[n, 2] h, bool go) => (float[n, 2] y, float16[n, 2] z) {
            y = Loop (times, go, x) <body = b (int64 i, bool c, float[n,2] s) => (bool d, float[n,2] t) {
                d = Identity (c)
                t = MatMul (s, weight)
            }>
            z = MatMul (h, half)
        }
        """,
        weight=np.eye(2, dtype=np.float32),
        half=np.eye(2, dtype=np.float16),
        times=np.int64(3),
    )
    assert find_sites(model, Precision.INT8) == ((), 2)


@pytest.mark.parametrize(
    ("shape", "text", "fp8"),
    [
        ((32, 16, 3, 3), "Conv (x, w)", True),
        ((32, 8, 3, 3), "Conv <group = 2> (x, w)", False),  # few channels
        ((16, 1, 3, 3), "Conv <group = 16> (x, w)", False),  # by channel
        ((16, 16, 7, 7), "Conv (x, w)", False),  # a large filter
        ((16, 16, 3, 3), "ConvTranspose (x, w)", False),
    ],
)
def test_fp8_is_for_the_convolutions_that_have_a_kernel(
    parse: Parse,
    shape: tuple[int, ...],
    text: str,
    fp8: bool,  # noqa: FBT001 (a column of the table)
) -> None:
    weight = np.random.default_rng(11).normal(size=shape).astype(np.float32)
    model = parse(f"g (float[n, 16, 9, 9] x) => (float[n, c, h, k] y) {{ y = {text} }}", w=weight)
    assert len(find_sites(model, Precision.INT8)[0]) == 1
    assert find_sites(model, Precision.FP8)[1] == 1
    assert bool(find_sites(model, Precision.FP8)[0]) == fp8


def test_one_weight_read_twice_is_stored_once(parse: Parse, room: Scratch) -> None:
    weight = np.random.default_rng(11).normal(size=(200, 200)).astype(np.float32)
    model = parse(
        "g (float[n, 200] x) => (float[n, 200] y) { a = MatMul (x, w) b = Relu (a) y = MatMul (b, w) }",
        w=weight,
    )
    low = quantised(model, room)
    large = [tensor for tensor in low.graph.initializer if list(tensor.dims) == [200, 200]]
    assert [tensor.data_type for tensor in large] == [TensorProto.INT8]
    assert large[0].data_location == TensorProto.DEFAULT  # 40 kB: only what is large is a reference
