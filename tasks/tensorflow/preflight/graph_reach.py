"""What loading a parsed `saved_model.pb`, and each of its signatures, would run: nodes with their places.

A place names the function that a node is in, to follow the node's name; it is empty in the main graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from tasks.tensorflow.preflight.graph_rules import READS_CHECKPOINTS, WRITES_CHECKPOINTS, first_match

PlacedNode: TypeAlias = tuple[str, Any]

_CALL = "__call__"
_VARIABLES = "variables"
_CHECKPOINTS = READS_CHECKPOINTS + WRITES_CHECKPOINTS


def nodes_run_by_load(graph: Any) -> Iterator[PlacedNode]:
    """Yield what load runs or may run: the main graph without its saver, and functions that load calls.

    A node of the saver is included if a signature or an initialiser reaches it, too. Estimators of
    TensorFlow 1 have several savers, of which load uses one.
    """
    saver = {*reached_from(graph, _save_roots(graph)), *reached_from(graph, _restore_roots(graph))}
    if not graph.object_graph_def.nodes:
        saver |= {node.name for node in graph.graph_def.node if first_match(node.op, _CHECKPOINTS)}
    saver -= reached_from(graph, _entry_names(graph)).keys()
    nodes = [node for node in graph.graph_def.node if node.name not in saver]
    yield from _closure(graph, nodes, _functions_run_by_load(graph.object_graph_def))


def _entry_names(graph: Any) -> set[str]:
    """Return the names in the main graph of outputs, initialisers and values of variables."""
    named = {info.name for signature in graph.signature_def.values() for info in signature.outputs.values()}
    for name, collection in graph.collection_def.items():
        named |= set(collection.node_list.value)
        for data in collection.bytes_list.value if name.endswith(_VARIABLES) else ():
            named |= _names_of_variable(data)
    return named


def _names_of_variable(data: bytes) -> set[str]:
    from tensorflow.core.framework import variable_pb2  # noqa: PLC0415 (its package is a stand-in until then)

    variable = variable_pb2.VariableDef.FromString(data)
    return {variable.initializer_name, variable.initial_value_name, variable.snapshot_name} - {""}


def nodes_of_save(graph: Any) -> Iterator[PlacedNode]:
    """Yield what the main graph's saver runs to write a checkpoint, which the farm never does."""
    yield from _closure(graph, reached_from(graph, _save_roots(graph)).values(), set())


def nodes_of_restore(graph: Any) -> Iterator[PlacedNode]:
    """Yield what the main graph's saver runs to read the checkpoint."""
    yield from _closure(graph, reached_from(graph, _restore_roots(graph)).values(), set())


def nodes_of_signature(graph: Any, name: str) -> Iterator[PlacedNode]:
    """Yield what signature `name` runs, by its declaration and by the object graph, which load prefers."""
    outputs = (info.name for info in graph.signature_def[name].outputs.values())
    yield from _closure(graph, reached_from(graph, outputs).values(), functions_of_signature(graph, name))


def _save_roots(graph: Any) -> tuple[str, ...]:
    return (graph.saver_def.save_tensor_name, graph.saver_def.filename_tensor_name)


def _restore_roots(graph: Any) -> tuple[str, ...]:
    return (graph.saver_def.restore_op_name, graph.saver_def.filename_tensor_name)


def reached_from(graph: Any, tensors: Iterable[str]) -> dict[str, Any]:
    """Return the main graph's nodes that run to compute `tensors`, by name."""
    return reached_in({node.name: node for node in graph.graph_def.node}, tensors, lambda node: node.input)


def reached_in(
    nodes: Mapping[str, Any], tensors: Iterable[str], inputs: Callable[[Any], Iterable[str]]
) -> dict[str, Any]:
    """Return those of `nodes` from which `tensors` follow through `inputs`, by name."""
    pending = [node_name(tensor) for tensor in tensors]
    reached: dict[str, Any] = {}
    while pending:
        current = pending.pop()
        if current in nodes and current not in reached:
            reached[current] = nodes[current]
            pending += [node_name(source) for source in inputs(nodes[current])]
    return reached


def node_name(tensor: str) -> str:
    """Return the name of the node that `tensor` comes from, or that must run first."""
    return tensor.removeprefix("^").split(":", 1)[0]


def _functions_run_by_load(objects: Any) -> set[str]:
    """Return the functions that load may call.

    Load sets each child as an attribute of its object, methods included. So every private name counts, not
    only `_create_resource`, `_initialize` and the like. `__call__` counts if an object is called.
    """
    ids: set[int] = set()
    for node in objects.nodes:
        ids |= {
            child.node_id
            for child in node.children
            if child.local_name.startswith("_") and child.local_name != _CALL
        }
        for saveable in node.saveable_objects.values():
            ids |= {saveable.save_function, saveable.restore_function}
    return _functions_called(objects, ids)


def functions_of_signature(graph: Any, name: str) -> set[str]:
    """Return the functions of the object graph that compute signature `name`: load prefers them."""
    objects = graph.object_graph_def
    ids = {0}
    for step in ("signatures", name):
        ids = {
            child.node_id
            for node in _nodes(objects, ids)
            for child in node.children
            if child.local_name == step
        }
    return _functions_called(objects, ids)


def _functions_called(objects: Any, ids: set[int]) -> set[str]:
    """Return the concrete functions behind the objects `ids`, if necessary through their `__call__`."""
    seen, names = set[int](), set[str]()
    while ids:
        seen |= ids
        nodes = list(_nodes(objects, ids))
        names |= {name for node in nodes for name in _concrete_functions(node)}
        ids = {child.node_id for node in nodes for child in node.children if child.local_name == _CALL} - seen
    return names


def _nodes(objects: Any, ids: set[int]) -> Iterator[Any]:
    return (objects.nodes[index] for index in ids if 0 <= index < len(objects.nodes))


def _concrete_functions(node: Any) -> list[str]:
    match node.WhichOneof("kind"):
        case "function":
            return list(node.function.concrete_functions)
        case "bare_concrete_function":
            return [node.bare_concrete_function.concrete_function_name]
        case _:
            return []


def _closure(graph: Any, nodes: Iterable[Any], functions: set[str]) -> Iterator[PlacedNode]:
    """Yield `nodes`, the nodes of `functions`, and of every function that they call, each with its place."""
    library = {function.signature.name: function for function in graph.graph_def.library.function}
    function_names, stand_ins = frozenset(library), _stand_ins(library)
    pending, seen = set(functions), set[str]()
    for node in nodes:
        yield "", node
        pending.update(called_functions(node, function_names))
    while pending:
        name = pending.pop()
        seen.add(name)
        if name not in library:
            continue
        pending |= stand_ins.pop(_implemented_api(library[name]), set()) - seen
        for node in library[name].node_def:
            yield f" in function {name}", node
            pending.update(name for name in called_functions(node, function_names) if name not in seen)


def _implemented_api(function: Any) -> bytes | None:
    """Return the name of the API that `function` implements; None if there is none."""
    return bytes(function.attr["api_implements"].s) if "api_implements" in function.attr else None


def _stand_ins(library: dict[str, Any]) -> dict[bytes | None, set[str]]:
    """Return the functions that TensorFlow's optimiser may exchange for each other, by API."""
    stand_ins: dict[bytes | None, set[str]] = {}
    for name, function in library.items():
        if (implemented := _implemented_api(function)) is not None:
            stand_ins.setdefault(implemented, set()).add(name)
    return stand_ins


def called_functions(node: Any, functions: frozenset[str]) -> list[str]:
    """Return which of `functions` the node calls, as its operation or in an attribute."""
    return [name for name in (node.op, *functions_in_attributes(node)) if name in functions]


def functions_in_attributes(node: Any) -> list[str]:
    """Return the functions that attributes of the node name."""
    names = []
    for value in node.attr.values():
        match value.WhichOneof("value"):
            case "func":
                names.append(value.func.name)
            case "list":
                names += [function.name for function in value.list.func]
    return names
