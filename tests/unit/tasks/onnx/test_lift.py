"""What a model itself computes in FP16 or BF16 becomes FP32: all of it inside, none of it at the border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

from tasks.children.weights import LARGE, opened
from tasks.onnx.lift import lift
from tasks.onnx.low_float import LowFloat
from tasks.onnx.structure import all_nodes, interface, subgraphs

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., ModelProto]

# `half` is a weight of the low type, `wide` one that is cast to it. A signature's own low type is FP16 only.
NETWORK = """
    network (float[n, 4] x, float16[n, 4] given, bool flag)
        => (float[n, 4] y, float16[n, 4] summed_out, float16[n, 4] chosen_out) {
        cast = Cast <to = KIND> (x)
        narrow = Cast <to = KIND> (wide)
        product = MatMul (cast, narrow)
        ones = ConstantOfShape <value: tensor = LOW[1] {ONE}> (shape)
        raised = Add (product, ones)
        entered = Cast <to = KIND> (given)
        both = Add (raised, entered)
        last, all = Loop (trips, true, both) <body = step
            (int64 i, bool go, LOW[n, 4] state) => (bool going, LOW[n, 4] next, LOW[n, 4] kept) {
                going = Identity (go)
                bias = Constant <value: tensor = LOW[1] {ONE}> ()
                moved = Add (state, bias)
                again = MatMul (moved, half)
                next = Tanh (again)
                kept = Cast <to = KIND> (next)
            }>
        chosen = If (flag) <
            then_branch = then () => (LOW[n, 4] one) {
                seen = Cast <to = KIND> (given)
                one = Add (last, seen)
            },
            else_branch = else () => (LOW[n, 4] other) { other = Cast <to = KIND> (x) }>
        chosen_out = Cast <to = 10> (chosen)
        summed = ReduceSum <keepdims = 0> (all, first)
        summed_out = Cast <to = 10> (summed)
        read = Cast <to = KIND> (summed_out)
        more = Add (read, chosen)
        y = Cast <to = 1> (more)
    }
"""
ONE = {"fp16": 0x3C00, "bf16": 0x3F80}
BORDER = {"given", "chosen_out", "summed_out"}


@pytest.fixture
def mixed(low: LowFloat) -> ModelProto:
    kind = TensorProto.DataType.Name(low.onnx).lower()
    text = NETWORK.replace("LOW", kind).replace("KIND", str(low.onnx)).replace("ONE", str(ONE[low.name]))
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    rng = np.random.default_rng(3)
    drawn = {name: (rng.normal(size=(4, 4)) / 2).astype(np.float32) for name in ("wide", "half")}
    weights: Arrays = drawn | {"half": low.rounded(drawn["half"])}
    weights |= {"trips": np.array(3), "true": np.array(True), "first": np.array([0])}
    weights["shape"] = np.array([1, 4])
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    return model


def lifted(model: ModelProto, folder: Path) -> ModelProto:
    onnx.save(model, folder / "raw.onnx")
    with opened(folder / "raw.onnx") as (copy, room):
        lift(copy, room)
        onnx.external_data_helper.load_external_data_for_model(copy, "")
    return copy


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs(inner)


def low_names(model: ModelProto) -> set[str]:
    """Return the names of low tensors in the graph and the graphs in it, as ONNX itself infers them."""
    whole = onnx.shape_inference.infer_shapes(model)
    names = set()
    for graph in graphs(whole.graph):
        kinds = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
        kinds |= {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
        kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        names |= {name for name, kind in kinds.items() if kind in {TensorProto.FLOAT16, TensorProto.BFLOAT16}}
    return names


def test_all_but_the_border_becomes_fp32(mixed: ModelProto, tmp_path: Path) -> None:
    model = lifted(mixed, tmp_path)
    onnx.checker.check_model(model)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert interface(model.graph) == interface(mixed.graph)
    assert low_names(mixed) > {"half", "narrow", "product", "state", "kept", "other", "summed", *BORDER}
    assert low_names(model) == BORDER
    casts = [node for node in all_nodes(model.graph) if node.op_type == "Cast"]
    assert sorted(name for node in casts for name in (*node.input, *node.output) if name in BORDER) == sorted(
        BORDER
    )
    assert len(casts) == len(BORDER)


def test_only_the_rounding_is_gone(mixed: ModelProto, run_graph: Run, close: float, tmp_path: Path) -> None:
    model = lifted(mixed, tmp_path)
    rng = np.random.default_rng(4)
    feeds: Arrays = {
        "x": rng.normal(size=(5, 4)).astype(np.float32),
        "given": rng.normal(size=(5, 4)).astype(np.float16),
    }
    for flag in (True, False):
        asked = feeds | {"flag": np.array(flag)}
        pairs = list(zip(run_graph(mixed, asked), run_graph(model, asked), strict=True))
        assert all(wanted.dtype == actual.dtype for wanted, actual in pairs)
        errors = [float(np.abs(wanted - actual).max() / np.abs(wanted).max()) for wanted, actual in pairs]
        assert max(errors) < 2 * close
        assert errors[0] > 0


def test_a_lifted_graph_stays_as_it_is(mixed: ModelProto, run_graph: Run, tmp_path: Path) -> None:
    """Lower precisions are made from the lifted graph."""
    once = lifted(mixed, tmp_path)
    twice = lifted(once, tmp_path)
    assert low_names(twice) == BORDER
    assert interface(twice.graph) == interface(once.graph)
    rng = np.random.default_rng(4)
    feeds: Arrays = {
        "x": rng.normal(size=(5, 4)).astype(np.float32),
        "given": rng.normal(size=(5, 4)).astype(np.float16),
        "flag": np.array(True),
    }
    for first, other in zip(run_graph(once, feeds), run_graph(twice, feeds), strict=True):
        np.testing.assert_array_equal(first, other)


def test_an_fp32_graph_is_not_touched(network: ModelProto, tmp_path: Path) -> None:
    before = network.SerializeToString(deterministic=True)
    assert lifted(network, tmp_path).SerializeToString(deterministic=True) == before


def test_large_weights_stay_outside_of_the_graph(parse: Parse, low: LowFloat, tmp_path: Path) -> None:
    kind = TensorProto.DataType.Name(low.onnx).lower()
    side = LARGE // 256
    text = f"g (float[n, {side}] x) => (float[n, {side}] y) {{ c = Cast <to = {low.onnx}> (x) "
    text += "p = MatMul (c, w) y = Cast <to = 1> (p) }"
    weight = low.rounded(np.random.default_rng(1).normal(size=(side, side)).astype(np.float32))
    onnx.save(parse(text, w=weight), tmp_path / "raw.onnx")
    with opened(tmp_path / "raw.onnx") as (model, room):
        lift(model, room)
        (tensor,) = model.graph.initializer
        assert onnx.external_data_helper.uses_external_data(tensor)
        assert tensor.data_type == TensorProto.FLOAT
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), weight.astype(np.float32))
    assert kind not in onnx.printer.to_text(model)
