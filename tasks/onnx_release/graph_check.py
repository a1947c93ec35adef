"""Refuses ONNX models by their operations, their types and their size, before anything runs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, defs

from tasks.domain.errors import ModelRefused
from tasks.domain.printable import printable_name
from tasks.onnx.structure import all_nodes, subgraphs

_MOST_NODES = 500_000
_MOST_INLINED = 2_000_000
_DEEPEST_CALLS = 200
_STANDARD = ("", "ai.onnx")
_RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
                     "Bernoulli"})  # fmt: skip
_Function = tuple[str, str]


def check_contents(model: ModelProto) -> None:
    """Refuse too many nodes, and inputs, outputs and weights that no engine can hold."""
    nodes = sum(1 for _ in _everything(model))
    if nodes > _MOST_NODES:
        raise _refused(f"{nodes} nodes, but at most {_MOST_NODES} are accepted", "split the model")
    if any(graph.sparse_initializer for graph in _graphs(model)):
        raise _refused("sparse weights", "store weights as dense tensors")
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in (*(value for value in model.graph.input if value.name not in weights), *model.graph.output):
        if value.type.WhichOneof("value") != "tensor_type":
            raise _refused(f"{printable_name(value.name)}, which is no tensor", "pass tensors alone")
        if value.type.tensor_type.elem_type in {TensorProto.UNDEFINED, TensorProto.STRING}:
            raise _refused(f"{printable_name(value.name)}, which holds no numbers", "pass numbers alone")


def check_domains(model: ModelProto) -> None:
    """Refuse operations that are neither ONNX's own nor functions of the model, and random ones."""
    functions = {(function.domain, function.name) for function in model.functions}
    for node in _everything(model):
        if (node.domain, node.op_type) in functions:
            continue
        name = printable_name(f"{node.domain}.{node.op_type}" if node.domain else node.op_type)
        if node.domain not in _STANDARD or not defs.has(node.op_type, ""):
            raise _refused(
                f"operation {name}, which ONNX does not define",
                "export it as operations of ONNX, or add it to the model as a function",
            )
        if node.op_type in _RANDOM:
            raise _refused(f"operation {name}, whose result is random", "pass random numbers as inputs")


def check_calls(model: ModelProto) -> None:
    """Refuse functions that call themselves, or that become too large when they are inlined."""
    bodies = {(function.domain, function.name): list(_nodes(function.node)) for function in model.functions}
    if len(bodies) != len(model.functions):
        raise _refused("two functions of the same name", "give each function a name of its own")
    sizes: dict[_Function, int] = {}
    if any(domain in _STANDARD for domain, _ in bodies):
        raise _refused("a function in ONNX's own domain", "put functions into a domain of their own")
    total = sum(_size(node, bodies, sizes, ()) for node in all_nodes(model.graph))
    if total > _MOST_INLINED:
        raise _refused(f"functions that become {total} nodes when they are inlined", "call fewer functions")


def _size(
    node: NodeProto,
    bodies: dict[_Function, list[NodeProto]],
    sizes: dict[_Function, int],
    callers: tuple[_Function, ...],
) -> int:
    key = (node.domain, node.op_type)
    if key not in bodies:
        return 1
    if key in callers or len(callers) > _DEEPEST_CALLS:
        raise _refused(
            f"function {printable_name(key[1])}, which calls itself or nests too deep", "write a loop"
        )
    if key not in sizes:
        sizes[key] = sum(_size(inner, bodies, sizes, (*callers, key)) for inner in bodies[key])
    return sizes[key]


def _everything(model: ModelProto) -> Iterator[NodeProto]:
    yield from all_nodes(model.graph)
    for function in model.functions:
        yield from _nodes(function.node)


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from all_nodes(graph)


def _graphs(model: ModelProto) -> Iterator[Any]:
    yield model.graph
    for node in _everything(model):
        yield from subgraphs(node)


def _refused(problem: str, fix: str) -> ModelRefused:
    return ModelRefused(wanted="an ONNX graph that computes on tensors alone", found=problem, fix=fix)
