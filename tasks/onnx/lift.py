"""Lifts the FP16 and BF16 arithmetic of a model itself to FP32, so that an FP32 graph is FP32.

Keras' policies mixed_float16 and mixed_bfloat16 write casts into the model's own graph. A strongly typed
TensorRT would obey them in every precision, and few ONNX operations and kernels know BF16. So all of it
becomes FP32 here, including the bodies of Loop, If and Scan, and every precision gets its casts as for any
other model. Weights that the conversion has rounded keep their rounded values, which TensorFlow uses, too.
Inputs and outputs keep their names and types, with a Cast behind or before them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
    helper,
    numpy_helper,
    shape_inference,
)

from tasks.children.weights import Scratch
from tasks.onnx.low_float import LOW_FLOATS
from tasks.onnx.structure import all_nodes, subgraphs

_LOW = frozenset(low.onnx for low in LOW_FLOATS.values())
_TYPES_OF_RESULTS = frozenset({"to", "dtype"})


def lift(model: ModelProto, room: Scratch) -> None:
    """Convert `model` in place to compute in FP32; large weights that change go to `room`."""
    border = {value.name: value.type.tensor_type.elem_type for value in _border(model.graph)}
    kept = {name: kind for name, kind in border.items() if kind in _LOW}
    changes = [_lift(graph, room) for graph in _graphs(model.graph)]
    if not any(changes):
        return
    _keep(model.graph, kept)
    _drop_casts(model.graph, shape_inference.infer_shapes(model).graph, {})


def _lift(graph: GraphProto, room: Scratch) -> bool:
    """Convert every low type in `graph` itself to FP32; return whether there was one."""
    changes = [_lift_tensor(tensor) for tensor in graph.initializer]
    for tensor in graph.initializer:
        room.keep_tensor(tensor)
    changes += [_lift_attribute(attribute) for node in graph.node for attribute in node.attribute]
    changes += [_lift_type(value.type) for value in (*_border(graph), *graph.value_info)]
    return any(changes)


def _lift_tensor(tensor: TensorProto) -> bool:
    if tensor.data_type not in _LOW:
        return False
    values = numpy_helper.to_array(tensor).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return True


def _lift_attribute(attribute: AttributeProto) -> bool:
    if attribute.name in _TYPES_OF_RESULTS and attribute.i in _LOW:
        attribute.i = TensorProto.FLOAT
        return True
    changes = [_lift_tensor(tensor) for tensor in (attribute.t, *attribute.tensors)]
    return any(changes)


def _lift_type(kind: TypeProto) -> bool:
    match kind.WhichOneof("value"):
        case "tensor_type" if kind.tensor_type.elem_type in _LOW:
            kind.tensor_type.elem_type = TensorProto.FLOAT
            return True
        case "sequence_type":
            return _lift_type(kind.sequence_type.elem_type)
        case "optional_type":
            return _lift_type(kind.optional_type.elem_type)
        case _:
            return False


def _keep(graph: GraphProto, kept: dict[str, int]) -> None:
    """Restore the types `kept` of the inputs and outputs of `graph`; inside, each has an FP32 twin."""
    names = {name for node in all_nodes(graph) for name in (*node.input, *node.output)}
    twins = {name: _fresh(name, names) for name in kept}
    inputs = [value.name for value in graph.input if value.name in kept]
    outputs = [value.name for value in graph.output if value.name in kept and value.name not in inputs]
    _rename(graph, twins)
    for value in _border(graph):
        if value.name in kept:
            value.type.tensor_type.elem_type = kept[value.name]
    nodes = [_cast(name, twins[name], twins[name], TensorProto.FLOAT) for name in inputs]
    nodes += graph.node
    nodes += [_cast(twins[name], name, twins[name], kept[name]) for name in outputs]
    _replace_nodes(graph, nodes)


def _rename(graph: GraphProto, twins: dict[str, str]) -> None:
    for part in _graphs(graph):
        for tensor in part.initializer:
            tensor.name = twins.get(tensor.name, tensor.name)
        for node in part.node:
            node.input[:] = [twins.get(name, name) for name in node.input]
            node.output[:] = [twins.get(name, name) for name in node.output]
        if part is not graph:  # a branch may return a tensor of the graph around it
            for value in part.output:
                value.name = twins.get(value.name, value.name)


def _drop_casts(graph: GraphProto, inferred: GraphProto, outer: dict[str, int]) -> None:
    """Turn the remaining casts from FP32 to FP32 into identities; `outer` are types around `graph`."""
    values = (*_border(inferred), *inferred.value_info)
    types = outer | {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node, inferred_node in zip(graph.node, inferred.node, strict=True):
        to = {attribute.i for attribute in node.attribute if attribute.name == "to"}
        if node.op_type == "Cast" and {types.get(node.input[0])} == to == {TensorProto.FLOAT}:
            node.op_type = "Identity"
            del node.attribute[:]
        for inner, inferred_inner in zip(subgraphs(node), subgraphs(inferred_node), strict=True):
            _drop_casts(inner, inferred_inner, types)


def _cast(source: str, result: str, twin: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [result], f"{twin}/cast", to=to)


def _fresh(name: str, names: set[str]) -> str:
    twin = f"{name}_fp32"
    while twin in names:
        twin += "_"
    names.add(twin)
    return twin


def _replace_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    copies = [helper.make_node(node.op_type, [], []) for node in nodes]
    for copy, node in zip(copies, nodes, strict=True):
        copy.CopyFrom(node)
    del graph.node[:]
    graph.node.extend(copies)


def _border(graph: GraphProto) -> Iterator[ValueInfoProto]:
    yield from graph.input
    yield from graph.output


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _graphs(inner)
