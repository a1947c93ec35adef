"""Which nodes a signature's outputs need, and which assignments are state; nothing here starts TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.tensorflow.preflight.child import parse_saved_model
from tasks.tensorflow.preflight.graph_need import nodes_needed


@pytest.fixture
def graph(tmp_path: Path) -> Any:
    """A main graph whose signature returns what the function `serve` makes of x and the variables v and w."""
    (tmp_path / "saved_model.pb").write_bytes(b"")
    graph = parse_saved_model(tmp_path).meta_graphs.add()
    for name, op in (("x", "Placeholder"), ("v", "VarHandleOp"), ("w", "VarHandleOp")):
        graph.graph_def.node.add(name=name, op=op)
    call = graph.graph_def.node.add(name="call", op="StatefulPartitionedCall", input=["x", "v", "w"])
    call.attr["f"].func.name = "serve"
    graph.signature_def["serving_default"].outputs["y"].name = "call:0"
    return graph


def _function(graph: Any, name: str, result: str, *nodes: tuple[str, ...], arguments: str = "x v w") -> None:
    """Add a function; each of `nodes` is its operation, its name, its inputs, and `calls=NAME`."""
    function = graph.graph_def.library.function.add()
    function.signature.name = name
    for argument in arguments.split():
        function.signature.input_arg.add(name=argument)
    function.signature.output_arg.add(name="y")
    function.ret["y"] = result
    for op, node_name, *inputs in nodes:
        called = [text.removeprefix("calls=") for text in inputs if text.startswith("calls=")]
        given = [text for text in inputs if not text.startswith("calls=")]
        node = function.node_def.add(name=node_name, op=op, input=given)
        for key, value in zip(("f",) if len(called) == 1 else ("cond", "body"), called, strict=False):
            node.attr[key].func.name = value


def _needed(graph: Any) -> set[str]:
    return {node.name for _, node in nodes_needed(graph, "serving_default")}


def test_a_seed_that_only_unread_random_numbers_read_is_no_state(graph: Any) -> None:
    _function(
        graph, "serve", "out:output:0",
        ("ReadVariableOp", "seed", "v"), ("Add", "next", "seed:value:0", "seed:value:0"),
        ("AssignVariableOp", "count", "v", "next:z:0"), ("StatelessRandomUniformV2", "mask", "seed:value:0"),
        ("ReadVariableOp", "weight", "w"), ("Mul", "product", "x", "weight:value:0"),
        ("NoOp", "all", "^count", "^mask"), ("Identity", "out", "product:z:0", "^all"),
    )  # fmt: skip
    assert _needed(graph) == {"call", "x", "v", "w", "out", "product", "weight"}


def test_an_assignment_to_what_an_output_reads_is_state_before_and_after_the_read(graph: Any) -> None:
    _function(
        graph, "serve", "product:z:0",
        ("ReadVariableOp", "old", "v"), ("Mul", "product", "x", "old:value:0"),
        ("AssignAddVariableOp", "count", "v", "x"),
    )  # fmt: skip
    assert "count" in _needed(graph)


def test_variables_are_followed_into_calls_and_loops(graph: Any) -> None:
    _function(graph, "serve", "call:output:0", ("PartitionedCall", "call", "x", "w", "v", "calls=inner"))
    _function(
        graph, "inner", "loop:output:0",
        ("While", "loop", "x", "first", "second", "calls=cond", "calls=body"),
        ("AssignVariableOp", "of_w", "first", "x"), ("AssignVariableOp", "of_v", "second", "x"),
        arguments="x first second",
    )  # fmt: skip
    _function(graph, "cond", "go:z:0", ("Less", "go", "a", "a"), arguments="a b c")
    _function(
        graph, "body", "sum:z:0",
        ("Identity", "same", "c"), ("ReadVariableOp", "read", "same:output:0"),
        ("Add", "sum", "a", "read:value:0"), ("AssignVariableOp", "unread", "b", "a"),
        arguments="a b c",
    )  # fmt: skip
    needed = _needed(graph)
    assert {"of_v", "sum", "go"} <= needed
    assert {"of_w", "unread"}.isdisjoint(needed)


def test_an_assignment_of_tensorflow_1_whose_value_is_returned_is_state(graph: Any) -> None:
    nodes = graph.graph_def.node
    nodes.add(name="old", op="VariableV2")
    nodes.add(name="next", op="AssignAdd", input=["old", "x"])
    graph.signature_def["serving_default"].outputs["y"].name = "next:0"
    assert "next" in _needed(graph)


def test_an_assignment_to_an_unknown_variable_is_state(graph: Any) -> None:
    _function(
        graph, "serve", "out:z:0",
        ("Neg", "out", "x"), ("AssignVariableOp", "count", "where:output:0", "x"),
        ("Identity", "where", "picked:output:0"), ("SelectV2", "picked", "x", "v", "w"),
    )  # fmt: skip
    assert "count" in _needed(graph)
