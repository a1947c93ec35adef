"""How large ids may be: a real model through the children, and graphs made by hand, without TensorFlow."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tasks.children.reference import read_reference
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.release import ModelFormat
from tasks.tensorflow.models import (
    ConversionWanted,
    Converted,
    LocalModel,
    convert_saved_model,
    export_saved_model,
)
from tasks.tensorflow.preflight.child import parse_saved_model
from tasks.tensorflow.vocabulary import uses_of_inputs

_INT32 = 3
Node = Callable[..., None]


@pytest.fixture
def convert(models: Path, tmp_path: Path, limits: Limits) -> Callable[[str], Converted]:
    """A function that converts a Keras model."""

    async def run(name: str) -> Converted:
        model = LocalModel(format=ModelFormat.KERAS, path=models / name)
        wanted = ConversionWanted(signature=None, shapes={}, opset=17, samples=None)
        folder = await export_saved_model(model, work=Workspace(folder=tmp_path, limits=limits))
        return await convert_saved_model(folder, wanted, work=Workspace(folder=tmp_path, limits=limits))

    return lambda name: asyncio.run(run(name))


def test_a_model_gets_ids_of_its_smallest_table(convert: Callable[[str], Converted]) -> None:
    converted = convert("tokens.keras")
    assert converted.samples_used == (
        "drawn numbers (seed 0): bool false and true, chosen 0 to 4, int32 0 to 39, int64 0 to 1, "
        "uint8 0 to 255, whole 0 to 6"
    )
    fed = read_reference(converted.reference)[-1].inputs
    assert set(np.unique(fed["whole"])) == set(range(7))
    assert set(np.unique(fed["int64"])) == {0, 1}
    assert 30 < fed["int32"].max() < 40


@pytest.mark.slow
def test_a_model_of_ids_alone_has_the_noise_of_its_weights(
    convert: Callable[[str], Converted], models: Path
) -> None:
    converted = convert("only_ids.keras")
    for corner in read_reference(converted.reference):
        assert 0 < corner.noise["y"] < 1e-5
    # Afterwards they are what they were, bit by bit.
    with zipfile.ZipFile(models / "only_ids.keras") as archive, archive.open("model.weights.h5") as file:
        stored: list[bytes] = []
        h5py.File(io.BytesIO(file.read())).visititems(
            lambda _, item: stored.append(item[()].tobytes()) if isinstance(item, h5py.Dataset) else None
        )
    written = {
        numpy_helper.to_array(tensor).tobytes() for tensor in onnx.load(converted.onnx).graph.initializer
    }
    large = {data for data in stored if len(data) > 3 * 4}
    assert len(large) == 2
    assert large <= written


@pytest.fixture
def graph(tmp_path: Path) -> Any:
    """A graph with a signature of one input, `ids`, and a table of 50 rows and 9 columns."""
    (tmp_path / "saved_model.pb").write_bytes(b"")
    graph = parse_saved_model(tmp_path).meta_graphs.add()
    graph.signature_def["serve"].inputs["ids"].name = "serve_ids:0"
    table = graph.graph_def.node.add(name="table", op="VarHandleOp")
    for size in (50, 9):
        table.attr["shape"].shape.dim.add(size=size)
    graph.graph_def.node.add(name="serve_ids", op="Placeholder")
    return graph


@pytest.fixture
def node(graph: Any) -> Node:
    """A function that adds a node to the main graph, or to `function`."""

    def add(name: str, op: str, *inputs: str, function: Any = None, **calls: str) -> None:
        nodes = graph.graph_def.node if function is None else function.node_def
        made = nodes.add(name=name, op=op, input=inputs)
        for attribute, called in calls.items():
            made.attr[attribute].func.name = called

    return add


@pytest.fixture
def number(graph: Any) -> Callable[[str, int], None]:
    """A function that adds a constant scalar."""

    def add(name: str, value: int) -> None:
        tensor = graph.graph_def.node.add(name=name, op="Const").attr["value"].tensor
        tensor.dtype = _INT32
        tensor.tensor_content = np.int32(value).tobytes()

    return add


def function_of(graph: Any, name: str, *arguments: str, **returned: str) -> Any:
    function = graph.graph_def.library.function.add()
    function.signature.name = name
    for argument in arguments:
        function.signature.input_arg.add(name=argument)
    for output, tensor in returned.items():
        function.signature.output_arg.add(name=output)
        function.ret[output] = tensor
    return function


def test_along_an_axis(graph: Any, node: Node, number: Callable[[str, int], None]) -> None:
    node("read", "ReadVariableOp", "table")
    for name, axis, limit in (("columns", -1, 9), ("rows", 0, 9)):  # the smaller stays
        number(f"{name}_axis", axis)
        node(name, "GatherV2", "read", "serve_ids", f"{name}_axis")
        assert uses_of_inputs(graph, "serve").limits == {"ids": limit}


def test_one_hot(graph: Any, node: Node, number: Callable[[str, int], None]) -> None:
    number("depth", 12)
    node("cast", "Cast", "serve_ids:0")
    node("hot", "OneHot", "cast", "depth", "on", "off")
    assert uses_of_inputs(graph, "serve").limits == {"ids": 12}


def test_through_calls_and_back(graph: Any, node: Node) -> None:
    outer = function_of(graph, "outer", "weights", "numbers", out="again:output:1")
    node("again", "PartitionedCall", "numbers", "weights", function=outer, f="inner")
    node("look", "ResourceGather", "weights", "again:output:0", function=outer)
    inner = function_of(graph, "inner", "a", "b", first="wide:output:0", second="b")
    node("wide", "ExpandDims", "a", "somewhere", function=inner)
    node("call", "StatefulPartitionedCall", "table", "serve_ids", "^table", f="outer")
    assert uses_of_inputs(graph, "serve").limits == {"ids": 50}


@pytest.mark.parametrize(
    ("op", "attribute", "first"), [("StatelessWhile", "body", ()), ("If", "else_branch", ("condition",))]
)
def test_in_loops_and_branches(
    graph: Any, node: Node, op: str, attribute: str, first: tuple[str, ...]
) -> None:
    inner = function_of(graph, "inner", "weights", "numbers")
    node("look", "ResourceGather", "weights", "numbers", function=inner)
    node("call", op, *first, "table", "serve_ids", **{attribute: "inner"})
    assert uses_of_inputs(graph, "serve").limits == {"ids": 50}


def test_keras_lets_ids_count_from_the_end(graph: Any, node: Node) -> None:
    node("wrapped", "AddV2", "serve_ids", "size")
    node("chosen", "SelectV2", "negative", "wrapped", "serve_ids")
    node("look", "ResourceGather", "table", "chosen")
    assert uses_of_inputs(graph, "serve").limits == {"ids": 50}


def test_what_was_computed_with_is_no_id(graph: Any, node: Node) -> None:
    node("moved", "AddV2", "serve_ids", "one")
    node("look", "ResourceGather", "table", "moved")
    node("rows", "GatherV2", "serve_ids", "positions", "axis")
    assert uses_of_inputs(graph, "serve").limits == {}


@pytest.mark.parametrize(("op", "inputs"), [("FloorMod", ("wide", "one")), ("Bucketize", ("wide",)),
    ("LookupTableFindV2", ("somewhere", "wide", "one"))])  # fmt: skip
def test_integers_that_are_divided_or_looked_up_by_keys_may_be_any(
    graph: Any, node: Node, op: str, inputs: tuple[str, ...]
) -> None:
    node("wide", "ExpandDims", "serve_ids", "axis")
    node("divided", op, *inputs)
    node("look", "ResourceGather", "table", "divided")
    uses = uses_of_inputs(graph, "serve")
    assert uses.divided == {"ids"}
    assert uses.limits == {}


def test_a_divisor_may_not_be_any(graph: Any, node: Node) -> None:
    node("divided", "FloorDiv", "one", "serve_ids")
    assert uses_of_inputs(graph, "serve").divided == frozenset()


@pytest.mark.parametrize("op", ["Reshape", "Tile", "ResizeBilinear"])
def test_an_input_whose_numbers_are_a_size(graph: Any, node: Node, op: str) -> None:
    node("wide", "ExpandDims", "serve_ids", "axis")
    node("sized", op, "table", "wide")
    assert uses_of_inputs(graph, "serve").sizes == {"ids"}


def test_an_input_that_gets_another_shape_holds_no_size(graph: Any, node: Node) -> None:
    node("shaped", "Reshape", "serve_ids", "axis")
    assert uses_of_inputs(graph, "serve").sizes == frozenset()


def test_tables_of_unknown_size_and_other_shapes_say_nothing(graph: Any, node: Node) -> None:
    graph.graph_def.node[0].attr["shape"].shape.dim[0].size = -1
    node("look", "ResourceGather", "table", "serve_ids")
    node("bad_axis", "GatherV2", "table", "serve_ids", "absent")
    node("too_short", "GatherV2", "table")
    node("depth_unknown", "OneHot", "serve_ids", "absent")
    assert uses_of_inputs(graph, "serve").limits == {}


def test_graphs_that_go_in_circles_or_very_deep_end(graph: Any, node: Node) -> None:
    node("a", "Identity", "b")
    node("b", "Identity", "a")
    node("look", "ResourceGather", "table", "a")
    itself = function_of(graph, "itself", "numbers", out="again:output:0")
    node("again", "PartitionedCall", "numbers", function=itself, f="itself")
    node("call", "PartitionedCall", "serve_ids", f="itself")
    assert uses_of_inputs(graph, "serve").limits == {}
    node("i0", "Identity", "serve_ids")
    for index in range(20_000):
        node(f"i{index + 1}", "Identity", f"i{index}")
    node("deep", "ResourceGather", "table", "i20000")
    node("flat", "ResourceGather", "table", "serve_ids")
    assert uses_of_inputs(graph, "serve").limits == {}
