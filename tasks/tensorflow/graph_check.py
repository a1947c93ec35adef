"""Refuses what a parsed `saved_model.pb` must not hold, by what loading and serving would run.

Only what is reached counts: a model's saver may write checkpoints, its serving signature may not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tasks.domain.errors import FarmError, ModelRefused
from tasks.tensorflow.graph_rules import NEVER_RUN, NOT_IN_AN_ENGINE, OpRule, first_match
from tasks.tensorflow.signatures import (
    Signature,
    choose_signature,
    read_signature,
    signature_names,
)

# Functions of the object graph that `tf.saved_model.load` calls by itself.
_RUN_BY_LOAD = frozenset(
    ("_create_resource", "_initialize", "_destroy_resource", "_restore_from_tensors", "_serialize_to_tensors")
)


def check_graph(graph: Any) -> None:
    """Refuse what loading `graph`, or serving the signature that a request gets by default, would run.

    Where that signature is refused, or none is the default, it is enough that one signature could be
    converted: the request may name that one, and `check_signature` is called for it.

    Raises:
        ModelRefused: an operation, input or output is refused; the error names it.
        SignatureUnknown: there is no signature.
    """
    _check_nodes(_nodes_run_by_load(graph), NEVER_RUN, "where TensorFlow loads or serves the model")
    try:
        check_signature(graph, choose_signature(graph, None))
    except FarmError:
        if not any(_is_accepted(graph, name) for name in signature_names(graph)):
            raise


def check_signature(graph: Any, name: str) -> Signature:
    """Return signature `name` after checking everything that it reaches.

    Raises:
        ModelRefused: as `check_graph`.
    """
    signature = read_signature(graph, name)
    nodes = list(_nodes_of_signature(graph, name))
    _check_nodes(nodes, NEVER_RUN + NOT_IN_AN_ENGINE, f"in signature {name}")
    return signature


def _is_accepted(graph: Any, name: str) -> bool:
    try:
        check_signature(graph, name)
    except ModelRefused:
        return False
    return True


def _check_nodes(nodes: Iterable[tuple[str, Any]], rules: tuple[OpRule, ...], where: str) -> None:
    for place, node in nodes:
        rule = first_match(node.op, rules)
        if rule is not None:
            raise ModelRefused(
                wanted=f"only computation on tensors {where}",
                found=f"operation {node.op} (node {node.name}{place}), which {rule.why}",
                fix=rule.advice,
            )


def _nodes_run_by_load(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yield the whole main graph (saver and initialisers are in it) and the functions that load calls."""
    yield from _closure(graph, graph.graph_def.node, _functions_run_by_load(graph.object_graph_def))


def _functions_run_by_load(objects: Any) -> set[str]:
    ids: set[int] = set()
    for node in objects.nodes:
        ids |= {child.node_id for child in node.children if child.local_name in _RUN_BY_LOAD}
        for saveable in node.saveable_objects.values():
            ids |= {saveable.save_function, saveable.restore_function}
    return {
        name
        for index in ids
        if 0 <= index < len(objects.nodes)
        for name in _concrete_functions(objects.nodes[index])
    }


def _concrete_functions(node: Any) -> list[str]:
    match node.WhichOneof("kind"):
        case "function":
            return list(node.function.concrete_functions)
        case "bare_concrete_function":
            return [node.bare_concrete_function.concrete_function_name]
        case _:
            return []


def _nodes_of_signature(graph: Any, name: str) -> Iterator[tuple[str, Any]]:
    by_name = {node.name: node for node in graph.graph_def.node}
    waiting = [_node_name(info.name) for info in graph.signature_def[name].outputs.values()]
    reached: dict[str, Any] = {}
    while waiting:
        current = waiting.pop()
        if current in by_name and current not in reached:
            reached[current] = by_name[current]
            waiting += [_node_name(source) for source in by_name[current].input]
    yield from _closure(graph, reached.values(), set())


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").split(":", 1)[0]


def _closure(graph: Any, nodes: Iterable[Any], functions: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield `nodes`, the nodes of `functions`, and of every function that they call, each with its place."""
    library = {function.signature.name: function for function in graph.graph_def.library.function}
    known = frozenset(library)
    waiting, seen = set(functions), set[str]()
    for node in nodes:
        yield "", node
        waiting |= _called(node, known)
    while waiting:
        name = waiting.pop()
        seen.add(name)
        if name not in library:
            continue
        for node in library[name].node_def:
            yield f" in function {name}", node
            waiting |= _called(node, known) - seen


def _called(node: Any, known: frozenset[str]) -> set[str]:
    names = {node.op} & known
    for value in node.attr.values():
        match value.WhichOneof("value"):
            case "func":
                names.add(value.func.name)
            case "list":
                names |= {function.name for function in value.list.func}
    return names
