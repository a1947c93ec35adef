"""Hostile SavedModels, made of TensorFlow's messages without TensorFlow: each function writes one folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.tensorflow.preflight.child import parse_saved_model

_FLOAT = 1
_TEN_GB = 10 << 30


def small(folder: Path, change: Callable[[Any], None] | None = None) -> Path:
    """Write a model of two nodes and one function, after `change` had its way with its graph."""
    target = folder / "saved_model"
    target.mkdir()
    path = target / "saved_model.pb"
    path.write_bytes(b"")
    model = parse_saved_model(target)
    graph = model.meta_graphs.add()
    graph.meta_info_def.tags.append("serve")
    graph.graph_def.node.add(name="x", op="Placeholder")
    _call(graph.graph_def.node.add(name="y", op="StatefulPartitionedCall", input=["x"]), "serve")
    function(graph, "serve", op="MatMul")
    _signature(graph, "serving_default", "y")
    if change is not None:
        change(graph)
    path.write_bytes(model.SerializeToString())
    return target


def _call(node: Any, name: str) -> None:
    node.attr["f"].func.name = name


def _signature(graph: Any, name: str, output: str) -> None:
    info = graph.signature_def[name].outputs[output]
    info.name, info.dtype = "y:0", _FLOAT
    info.tensor_shape.dim.add(size=2)


def function(graph: Any, name: str, *calls: str, op: str = "PartitionedCall", node: str = "inner") -> None:
    """Add a function with one node of `op`, or one for each function that it calls."""
    added = graph.graph_def.library.function.add()
    added.signature.name = name
    for index, callee in enumerate(calls):
        _call(added.node_def.add(name=f"call{index}", op=op), callee)
    if not calls:
        added.node_def.add(name=node, op=op)


def with_operation(folder: Path, op: str, name: str = "trap") -> None:
    """The signature reaches an operation, two calls away."""

    def change(graph: Any) -> None:
        _call(graph.graph_def.library.function[0].node_def.add(name="more", op="PartitionedCall"), "deeper")
        function(graph, "deeper", op=op, node=name)

    small(folder, change)


def called_like_an_operation(folder: Path, op: str) -> None:
    """A function of the model has the name of an operation that the signature has a node of."""

    def change(graph: Any) -> None:
        graph.graph_def.library.function[0].node_def.add(name="trap", op=op)
        function(graph, op, op="Neg")

    small(folder, change)


def on_load(folder: Path, op: str) -> None:
    """An operation runs while the model is loaded, before any signature does."""

    def change(graph: Any) -> None:
        function(graph, "hidden", op=op)
        objects = graph.object_graph_def.nodes
        objects.add().children.add(node_id=1, local_name="_initialize")
        objects.add().bare_concrete_function.concrete_function_name = "hidden"

    small(folder, change)


def recursive(folder: Path, *others: str) -> None:
    """A function calls itself, or others that call it."""

    def change(graph: Any) -> None:
        chain = ("again", *others)
        _call(graph.graph_def.library.function[0].node_def.add(name="more", op="PartitionedCall"), chain[0])
        for index, name in enumerate(chain):
            function(graph, name, chain[(index + 1) % len(chain)])

    small(folder, change)


def doubling(folder: Path) -> None:
    """Forty functions, each of which calls the next one twice: 2^40 nodes once they are written out."""

    def change(graph: Any) -> None:
        _call(graph.graph_def.library.function[0].node_def.add(name="more", op="PartitionedCall"), "f0")
        for number in range(40):
            function(graph, f"f{number}", f"f{number + 1}", f"f{number + 1}")
        function(graph, "f40", op="MatMul")

    small(folder, change)


def deep_calls(folder: Path) -> None:
    """A call of a call of a call, 10,000 times."""

    def change(graph: Any) -> None:
        for number in range(10_000):
            function(graph, f"f{number}", f"f{number + 1}")

    small(folder, change)


def many_nodes(folder: Path) -> None:
    """A million nodes."""
    small(folder, lambda graph: graph.graph_def.node.extend([graph.graph_def.node[0]] * 1_000_000))


def many_signatures(folder: Path) -> None:
    """Ten thousand signatures."""

    def change(graph: Any) -> None:
        for number in range(10_000):
            _signature(graph, f"s{number}", "y")

    small(folder, change)


def huge_constant(folder: Path, *, in_function: bool = False) -> None:
    """A constant of 10^12 values, one of which is written."""

    def change(graph: Any) -> None:
        nodes = graph.graph_def.library.function[0].node_def if in_function else graph.graph_def.node
        tensor = nodes.add(name="bomb", op="Const").attr["value"].tensor
        tensor.dtype = _FLOAT
        tensor.float_val.append(0.0)
        for _ in range(2):
            tensor.tensor_shape.dim.add(size=10**6)

    small(folder, change)


def named(folder: Path, side: str, name: str) -> None:
    """A signature, an input or an output whose name is the attack."""

    def change(graph: Any) -> None:
        if side == "signature":
            graph.signature_def[name].CopyFrom(graph.signature_def["serving_default"])
            del graph.signature_def["serving_default"]
            return
        tensors = getattr(graph.signature_def["serving_default"], side)
        tensors[name].CopyFrom(graph.signature_def["serving_default"].outputs["y"])

    small(folder, change)


def asset_outside(folder: Path) -> None:
    """An asset whose file lies outside."""
    small(folder, lambda graph: graph.asset_file_def.add(filename="../../../../etc/passwd") and None)


def message(folder: Path, content: bytes) -> None:
    """Bytes that are no model."""
    (folder / "saved_model").mkdir()
    (folder / "saved_model" / "saved_model.pb").write_bytes(content)


def nested_message(folder: Path) -> None:
    """A function type of types of types, 5000 deep: readers that recurse run out of stack."""
    inner = b""
    for _ in range(5000):
        inner = b"\x12" + _varint(len(inner)) + inner
    type_ = b"\x3a" + _varint(len(inner)) + inner  # NodeDef.experimental_type
    for tag in (b"\x0a", b"\x12", b"\x12"):  # GraphDef.node, MetaGraphDef.graph_def, SavedModel.meta_graphs
        type_ = tag + _varint(len(type_)) + type_
    message(folder, type_)


def _varint(number: int) -> bytes:
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])


def sparse_file(folder: Path, name: str) -> None:
    """A file of 10 GB that takes no space."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.truncate(_TEN_GB)


def linked(folder: Path, name: str, target: str) -> None:
    """A link in the folder."""
    path = small(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def with_fifo(folder: Path) -> None:
    """A pipe, on which a reader waits for ever."""
    os.mkfifo(small(folder) / "assets")


def text_only(folder: Path) -> None:
    """The text form, which TensorFlow reads where the binary one is missing, and nothing here checks."""
    (folder / "saved_model").mkdir()
    (folder / "saved_model" / "saved_model.pbtxt").write_text("saved_model_schema_version: 1\n", "utf-8")


def changed_copy(folder: Path, models: Path, name: str, *, keep: float = 1.0, flip: bool = False) -> None:
    """A sound model, one of whose variable files is cut off, has a flipped bit, or is gone."""
    shutil.copytree(models / "many", folder / "saved_model")
    path = folder / "saved_model" / "variables" / name
    data = bytearray(path.read_bytes())
    if flip:
        data[len(data) // 2] ^= 1
    path.write_bytes(data[: int(len(data) * keep)])
    if keep == 0:
        path.unlink()
