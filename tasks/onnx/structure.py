"""Questions about an ONNX graph: its nodes, what its subgraphs capture, its inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto

Interface = list[tuple[str, str]]


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the subgraphs of `node`: bodies of Loop and Scan, branches of If."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def all_nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield every node of `graph` and of the graphs inside it."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner)


def captured(node: NodeProto) -> list[str]:
    """Return the names that the subgraphs of `node` read from outside, without duplicates."""
    names: dict[str, None] = {}
    for graph in subgraphs(node):
        defined = {value.name for value in (*graph.input, *graph.initializer)}
        for inner in graph.node:
            names.update((name, None) for name in (*inner.input, *captured(inner)) if name not in defined)
            defined.update(inner.output)
        names.update((value.name, None) for value in graph.output if value.name not in defined)
    names.pop("", None)
    return list(names)


def is_ordered(graph: GraphProto, outside: AbstractSet[str] = frozenset()) -> bool:
    """Return whether every name that `graph` and its subgraphs read is defined before it is read."""
    defined = {"", *outside, *(value.name for value in (*graph.input, *graph.initializer))}
    for node in graph.node:
        if not defined.issuperset(node.input) or not all(
            is_ordered(inner, defined) for inner in subgraphs(node)
        ):
            return False
        defined.update(node.output)
    return defined.issuperset(value.name for value in graph.output)


def interface(graph: GraphProto) -> tuple[Interface, Interface]:
    """Return name and element type of each input that is no weight, and of each output, in order."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [_typed(value) for value in graph.input if value.name not in weights]
    return inputs, [_typed(value) for value in graph.output]


def _typed(value: ValueInfoProto) -> tuple[str, str]:
    return value.name, TensorProto.DataType.Name(value.type.tensor_type.elem_type)
