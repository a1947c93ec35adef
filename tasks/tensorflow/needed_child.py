"""Child: the part of a graph that its outputs are computed from, in a `GraphDef`.

TensorFlow also runs random numbers that nothing reads, updates of seeds, and checks, because an output waits
for them. An engine has none of these, and TensorFlow cannot freeze a variable that is assigned.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tasks.tensorflow.weights_child import node_name

# Control flow of TensorFlow 1: control inputs keep constants inside a loop.
_FRAMES = frozenset({"Enter", "Merge", "Switch", "NextIteration"})


def keep_needed(graph: Any, names: Iterable[str]) -> None:
    """Remove from the `GraphDef` `graph`, in place, all that the nodes `names` are not computed from."""
    if any(node.op in _FRAMES for node in graph.node):
        return
    _prune(graph.node, names)
    for function in graph.library.function:
        _prune(function.node_def, map(node_name, function.ret.values()))
        function.control_ret.clear()
        del function.signature.control_output[:]


def _prune(nodes: Any, names: Iterable[str]) -> None:
    by_name = {node.name: node for node in nodes}
    pending, needed = list(names), set[str]()
    while pending:
        name = pending.pop()
        if name in by_name and name not in needed:
            needed.add(name)
            pending += [node_name(tensor) for tensor in _data(by_name[name])]
    kept = [node for node in nodes if node.name in needed]
    for node in kept:
        node.input[:] = _data(node)
    del nodes[:]
    nodes.extend(kept)


def _data(node: Any) -> list[str]:
    return [name for name in node.input if not name.startswith("^")]
