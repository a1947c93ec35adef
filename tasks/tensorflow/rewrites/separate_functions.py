"""Gives each loop and condition functions of its own.

Calls of the same `tf.function` share the bodies of the loops and conditions in it. tf2onnx takes a body apart
for the operation that it converts first, and fails at the second. So each later operation gets a copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any


def separated(definition: Any) -> Any:
    """Return the `GraphDef` `definition`, or a copy of it in which no two operations share a function."""
    calls = Counter(call.name for nodes in _all_nodes(definition) for call in _calls(nodes))
    if all(count == 1 for count in calls.values()):
        return definition
    result = type(definition)()
    result.CopyFrom(definition)
    _separate(result)
    return result


def _separate(definition: Any) -> None:
    functions = {function.signature.name: function for function in definition.library.function}
    taken: set[str] = set()
    pending = [definition.node]
    while pending:
        for call in _calls(pending.pop()):
            function = functions.get(call.name)
            if function is None:
                continue
            if call.name in taken:
                copy = definition.library.function.add()
                copy.CopyFrom(function)
                call.name = copy.signature.name = _free_name(call.name, functions)
                functions[call.name] = function = copy
            taken.add(call.name)
            pending.append(function.node_def)


def _free_name(name: str, functions: Iterable[str]) -> str:
    number = 2
    while f"{name}_{number}" in functions:
        number += 1
    return f"{name}_{number}"


def _all_nodes(definition: Any) -> Iterator[Any]:
    yield definition.node
    for function in definition.library.function:
        yield function.node_def


def _calls(nodes: Any) -> Iterator[Any]:
    """Yield the names of functions in the attributes of `nodes`, each as a message that can be changed."""
    for node in nodes:
        for attribute in node.attr.values():
            if attribute.HasField("func"):
                yield attribute.func
            yield from attribute.list.func
