"""Child: the part of a graph that its outputs are computed from, in a `GraphDef`.

Random numbers that nothing reads, seeds that are counted on, checks: TensorFlow runs them since an output
waits for them. An engine has nothing like it, and TensorFlow cannot freeze a variable that is assigned.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tasks.tensorflow.weights_child import node_name

# Control flow of TensorFlow 1: constants in a loop are held there by control inputs.
_FRAMES = frozenset({"Enter", "Merge", "Switch", "NextIteration"})


def keep_needed(graph: Any, names: Iterable[str]) -> None:
    """Take out of the `GraphDef` `graph` what the nodes `names` are not computed from, in place."""
    if any(node.op in _FRAMES for node in graph.node):
        return
    _prune(graph.node, names)
    for function in graph.library.function:
        _prune(function.node_def, map(node_name, function.ret.values()))
        function.control_ret.clear()
        del function.signature.control_output[:]


def _prune(nodes: Any, names: Iterable[str]) -> None:
    by_name = {node.name: node for node in nodes}
    waiting, needed = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in needed:
            needed.add(name)
            waiting += [node_name(tensor) for tensor in _data(by_name[name])]
    kept = [node for node in nodes if node.name in needed]
    for node in kept:
        node.input[:] = _data(node)
    del nodes[:]
    nodes.extend(kept)


def _data(node: Any) -> list[str]:
    return [name for name in node.input if not name.startswith("^")]
