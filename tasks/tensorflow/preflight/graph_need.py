"""What the outputs of a signature need: the rest runs in TensorFlow, and changes no output.

Keras 3 prepares the masks of dropout in each recurrent layer even if nothing is dropped, and so draws
random numbers and assigns the next seed. No output reads them. An assignment counts only if an output reads
its variable: then the answer depends on the calls before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tasks.tensorflow.preflight.graph_reach import (
    PlacedNode,
    functions_in_attributes,
    functions_of_signature,
    node_name,
    reached_from,
    reached_in,
)

_Source: TypeAlias = "str | int"
"""A variable: the node of the main graph that holds it, or the argument's index in a function."""

_PASSED_ON = frozenset({"Identity", "IdentityN", "Enter", "RefEnter"})
_ASSIGNS = ("Assign", "ResourceScatter", "ResourceApply", "ResourceSparseApply", "ResourceStridedSliceAssign")
_SCATTERS = frozenset(f"Scatter{nd}{how}" for nd in ("", "Nd")
                      for how in ("Update", "Add", "Sub", "Mul", "Div", "Min", "Max"))  # fmt: skip
# The first input that is an argument of the function.
_FIRST_ARGUMENT = {"If": 1, "StatelessIf": 1, "Case": 1, "StatelessCase": 1}


def nodes_needed(graph: Any, signature: str) -> Iterator[PlacedNode]:
    """Yield what the outputs of `signature` are computed from, and assignments to variables that these read.

    Args:
        graph: a parsed `MetaGraphDef`.
        signature: name of a signature in it.
    """
    search = _Search(graph.graph_def.library)
    names = [node_name(info.name) for info in graph.signature_def[signature].outputs.values()]
    run = list(reached_from(graph, names).values())
    search.enter("", _body(run, names))
    for name in functions_of_signature(graph, signature):
        search.enter_function(name)
    yield from search.placed()


@dataclass(slots=True)
class _Body:
    """The main graph, or a function.

    Attributes:
        nodes: all that runs, by name.
        arguments: the index of each argument, by name.
        results: names of the nodes and arguments that are returned.
    """

    nodes: dict[str, Any]
    arguments: dict[str, int]
    results: list[str]


@dataclass(slots=True)
class _Need:
    """What the results of a body need.

    Attributes:
        nodes: those that its results are computed from, by name.
        read: variables that these read.
        assigned: nodes that assign, each with its variable, those of called functions included.
    """

    nodes: dict[str, Any] = field(default_factory=dict)
    read: set[_Source] = field(default_factory=set)
    assigned: list[tuple[_Source | None, PlacedNode]] = field(default_factory=list)


class _Search:
    def __init__(self, library: Any) -> None:
        self._library = {function.signature.name: function for function in library.function}
        self._needs: dict[str, _Need] = {}
        self._needed: dict[str, _Need] = {}

    def placed(self) -> Iterator[PlacedNode]:
        """Yield each node that is needed, and each assignment to what is read."""
        for name, need in self._needed.items():
            place = f" in function {name}" if name else ""
            yield from ((place, node) for node in need.nodes.values())
            for variable, node in need.assigned:
                if variable is None or variable in need.read:
                    yield node

    def enter_function(self, name: str) -> None:
        function = self._library.get(name)
        if function is not None:
            self.enter(name, _function_body(function))

    def enter(self, name: str, body: _Body) -> None:
        """Mark `body`, and every function that its results need, as needed."""
        need = self._needed.setdefault(name, self._need_of(name, body))
        for node in need.nodes.values():
            for called in functions_in_attributes(node):
                if called not in self._needed:
                    self.enter_function(called)

    def _need_of(self, name: str, body: _Body) -> _Need:
        if name in self._needs:
            return self._needs[name]
        need = self._needs[name] = _Need(nodes=reached_in(body.nodes, body.results, _data))
        place = f" in function {name}" if name else ""
        for node in body.nodes.values():
            sources = [_source(body, tensor) for tensor in _data(node)]
            if node.op.startswith(_ASSIGNS) or node.op in _SCATTERS:
                variable = sources[0] if sources else None
                need.assigned.append((variable, (place, node)))
                if node.name in need.nodes and variable is not None:  # of TensorFlow 1: it returns the value
                    need.read.add(variable)
            elif functions_in_attributes(node):
                self._call(need, node, sources)
            elif node.name in need.nodes and node.op not in _PASSED_ON:
                need.read.update(source for source in sources if source is not None)
        return need

    def _call(self, need: _Need, node: Any, sources: list[_Source | None]) -> None:
        """Add to `need` what the functions that `node` calls do with the variables that it passes to them."""
        arguments = sources[_FIRST_ARGUMENT.get(node.op, 0) :]

        def outside(inner: _Source | None) -> _Source | None:
            if isinstance(inner, int):
                return arguments[inner] if inner < len(arguments) else None
            return inner

        for name in functions_in_attributes(node):
            function = self._library.get(name)
            if function is None:
                continue
            called = self._need_of(name, _function_body(function))
            if node.name in need.nodes:
                sources_read = (outside(inner) for inner in called.read)
                need.read.update(source for source in sources_read if source is not None)
            need.assigned += [(outside(inner), placed) for inner, placed in called.assigned]


def _body(nodes: Iterable[Any], results: list[str]) -> _Body:
    return _Body({node.name: node for node in nodes}, {}, results)


def _function_body(function: Any) -> _Body:
    return _Body(
        {node.name: node for node in function.node_def},
        {argument.name: index for index, argument in enumerate(function.signature.input_arg)},
        [node_name(tensor) for tensor in function.ret.values()],
    )


def _source(body: _Body, tensor: str) -> _Source | None:
    """Return the variable or argument that `tensor` passes on; None if it is computed."""
    name, seen = node_name(tensor), set[str]()
    while name not in body.arguments:
        node = body.nodes.get(name)
        if node is None or name in seen:
            return None
        seen.add(name)
        if node.op not in _PASSED_ON:
            return None if _data(node) else name
        name = node_name(_data(node)[0])
    return body.arguments[name]


def _data(node: Any) -> list[str]:
    return [name for name in node.input if not name.startswith("^")]
