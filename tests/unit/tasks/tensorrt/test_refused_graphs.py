"""Graphs that TensorRT-RTX's parser does not take: every node is named, with what is wrong and the fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from tasks.domain.errors import BuildRefused
from tasks.domain.request import Precision
from tasks.tensorrt.engine import BuiltEngine, EngineJob
from tasks.tensorrt.inside.refusals import nearest_fix

Build = Callable[[EngineJob], BuiltEngine]
Job = Callable[..., EngineJob]
Graph = Callable[..., Path]


@pytest.fixture
def refusal(build: Build, job: Job, save_graph: Graph) -> Callable[..., BuildRefused]:
    """A function that builds a graph of nodes, from x to y, and returns the refusal."""

    def refused(*nodes: NodeProto, shape: tuple[int, ...] = (4, 4), **weights: np.ndarray) -> BuildRefused:
        graph = save_graph(list(nodes), list(shape), weights)
        with pytest.raises(BuildRefused) as caught:
            build(job(graph, shapes={}))
        return caught.value

    return refused


def node(op: str, inputs: str, output: str, name: str, **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs.split(), [output], name=name, **attributes)


REFUSED = [
    (
        (node("Frob", "x", "y", "a/frob"),),
        {},
        "layer a, node a/frob (Frob): ",
        "TensorRT has no such operation",
    ),
    ((node("Det", "x", "y", "det"),), {}, "node det (Det): false [checkDet, ", "no such operation"),
    ((node("Relu", "gone", "y", "r"),), {}, "node r (Relu): ", "the graph is incomplete"),
    (
        (node("Add", "x h", "y", "sum"),),
        {"h": np.ones((4, 4), np.float16)},
        "node sum (Add): Invalid Node - sum",
        "mixes FP16 and FP32",
    ),
    (
        (node("MatMul", "x w", "y", "product"),),
        {"w": np.ones((5, 3), np.float32)},
        "node product (MatMul): Invalid Node - product",
        "the sizes at this node do not fit each other",
    ),
    (
        (node("Reshape", "x s", "y", "form"),),
        {"s": np.array([3, 3])},
        "node form (Reshape): Invalid Node - form",
        "the sizes at this node do not fit each other",
    ),
    (
        (node("Gather", "x i", "y", "pick", axis=9),),
        {"i": np.zeros(1, np.int64)},
        "node pick (Gather): Assertion failed",
        "replace the layer that makes this node",
    ),
]


@pytest.mark.parametrize(("nodes", "weights", "message", "fix"), REFUSED, ids=lambda value: str(value)[:20])
def test_node_operation_and_fix(
    refusal: Callable[..., BuildRefused],
    nodes: tuple[NodeProto, ...],
    weights: dict[str, np.ndarray],
    message: str,
    fix: str,
) -> None:
    error = refusal(*nodes, **weights)
    assert error.found.startswith(message)
    assert "ErrorCode." in error.found
    assert fix in error.fix
    assert "; " not in error.fix


def _volumes(op: str, kind: str) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """Return a 3-D convolution of x in FP32, FP16, or between Q/DQ pairs."""
    kernel = np.random.default_rng(0).standard_normal((2, 2, 2, 2, 2)).astype(np.float32) / 4
    if kind == "fp16":
        inner = [node("Cast", "x", "h", "down", to=TensorProto.FLOAT16), node(op, "h w", "c", "volume")]
        return [*inner, node("Cast", "c", "y", "up", to=TensorProto.FLOAT)], {"w": kernel.astype(np.float16)}
    weights = {"w": kernel, "step": np.float32(0.05), "zero": np.int8(0)}
    if kind == "fp32":
        return [node(op, "x w", "y", "volume")], {"w": kernel}
    pairs = [
        row
        for name in ("x", "w")
        for row in (
            node("QuantizeLinear", f"{name} step zero", f"{name}q", f"quantise_{name}"),
            node("DequantizeLinear", f"{name}q step zero", f"{name}d", f"dequantise_{name}"),
        )
    ]
    return [*pairs, node(op, "xd wd", "y", "volume")], {
        name: np.asarray(row) for name, row in weights.items()
    }


@pytest.mark.parametrize(
    ("op", "precision"), [("Conv", "fp32"), ("Conv", "int8"), ("ConvTranspose", "fp32")], ids=str
)
def test_a_3d_convolution_for_turing_is_refused_with_the_precision_that_it_takes(
    build: Build, job: Job, save_graph: Graph, op: str, precision: str
) -> None:
    after = 3 if op == "Conv" else 5
    graphs = {
        kind: save_graph(*_graph(op, kind), out_shape=[1, 2, after, after, after])
        for kind in (precision, "fp16")
    }
    with pytest.raises(BuildRefused) as caught:
        build(job(graphs[precision], "7.5", precision=Precision(precision), shapes={}))
    assert caught.value.fix.startswith("ask for fp16, or take sm75 out of targets")
    assert build(job(graphs["fp16"], "7.5", precision=Precision.FP16, shapes={})).ref.size


def _graph(op: str, kind: str) -> tuple[list[NodeProto], list[int], dict[str, np.ndarray]]:
    nodes, weights = _volumes(op, kind)
    return nodes, [1, 2, 4, 4, 4], weights


def test_all_nodes_are_named_and_each_fix_once(refusal: Callable[..., BuildRefused]) -> None:
    error = refusal(
        node("Frob", "x", "a", "block1/frob"),
        node("Relu", "a", "b", "fine"),
        node("Unique", "b", "y", "block2/unique"),
    )
    first, second = error.found.split(" | ")
    assert first.startswith("layer block1, node block1/frob (Frob): ")
    assert second.startswith("layer block2, node block2/unique (Unique): ")
    assert error.fix.count("TensorRT has no such operation") == 1


def test_five_are_listed_and_the_others_counted(refusal: Callable[..., BuildRefused]) -> None:
    error = refusal(*(node("Det", "x", f"{n}" if n else "y", f"det{n}") for n in range(7)))
    parts = error.found.split(" | ")
    assert [part.partition(" (")[0] for part in parts[:5]] == [f"node det{n}" for n in range(5)]
    assert parts[5:] == ["and 2 more"]


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        (
            "Cannot compile operation 'c' for Turing (SM75): FP32 3D convolution is not supported.",
            "ask for fp16",
        ),
        ("Cannot compile operation 'm' for Turing (SM75): FP32 GEMM is not supported.", "ask for fp16"),
        (
            "Cannot compile operation '(Unnamed Loop* 0)^m' for Turing (SM75): FP32 GEMM is not supported.",
            "compute in FP32 in every precision",
        ),
        ("Cannot compile operation 'm' for Turing (SM75): no such thing.", "take sm75 out of targets"),
        (
            "cannot infer the shape of scan output y since no trip limit was set.",
            "compare the loop's counter",
        ),
        ("Found unsupported input type of UINT8", "cast it to float32"),
        (
            "Myelin ([myelin_graph.h:1295]) MyelinCheckException: ssa.cpp:698: CHECK(false)",
            "a target of TensorRT",
        ),
        ("[codeGenerator.cpp::getEquivalentMyelinCoord::4039] Error Code 2", "a target of TensorRT itself"),
        ("Myelin (utils.cpp:3613: CHECK(static_cast<size_t>(i) < op->input_size()) failed.", "equal shapes"),
    ],
)
def test_what_tensorrt_says_leads_to_the_way_out(said: str, fix: str) -> None:
    assert fix in nearest_fix(said)
