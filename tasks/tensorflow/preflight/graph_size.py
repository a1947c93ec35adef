"""Refuses graphs that are huge, although their file is small.

These have functions that call themselves or each other without end, constants of many values that are
written as one, or more nodes and signatures than any model has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from tasks.domain.errors import ModelRefused
from tasks.tensorflow.preflight.graph_reach import called_functions

_MOST_NODES = 500_000
_MOST_SIGNATURES = 100
_MOST_INLINED = 2_000_000
_DEEPEST_CALLS = 200
_MOST_UNWRITTEN = 1 << 30
# Bytes of a value by the number of tensorflow.DataType; all other types have four or fewer.
_WIDE = {2: 8, 8: 8, 9: 8, 18: 16, 23: 8}
_REPEATED = ("float_val", "double_val", "int_val", "int64_val", "half_val", "bool_val", "uint32_val",
             "uint64_val", "scomplex_val", "dcomplex_val")  # fmt: skip


def check_size(graph: Any) -> None:
    """Refuse a parsed `MetaGraphDef` that loading or inlining would make far larger than its file.

    Raises:
        ModelRefused: the error names what is too large.
    """
    functions = {function.signature.name: function.node_def for function in graph.graph_def.library.function}
    nodes = len(graph.graph_def.node) + sum(map(len, functions.values()))
    if nodes > _MOST_NODES:
        raise _refused_graph(f"{nodes} nodes, but at most {_MOST_NODES} are accepted", "split the model")
    if len(graph.signature_def) > _MOST_SIGNATURES:
        raise _refused_graph(f"{len(graph.signature_def)} signatures", f"export at most {_MOST_SIGNATURES}")
    _check_constants(graph.graph_def.node, functions)
    _check_calls(graph.graph_def.node, functions)


def _check_constants(main: Any, functions: dict[str, Any]) -> None:
    """Refuse constants whose values are mostly not in the file: TensorFlow writes them all out."""
    unwritten = 0
    for node in _all_nodes(main, functions):
        if node.op != "Const" or "value" not in node.attr:
            continue
        tensor = node.attr["value"].tensor
        elements = math.prod(max(dim.size, 0) for dim in tensor.tensor_shape.dim)
        missing = elements * _WIDE.get(tensor.dtype, 4) - len(tensor.tensor_content)
        written = max(len(getattr(tensor, name)) for name in _REPEATED)
        unwritten += max(0, missing) if written < elements else 0
        if unwritten > _MOST_UNWRITTEN:
            raise _refused_graph(
                f"constant {node.name}, declared with {elements} values, few of which are in the file",
                "compute large constants in the model, or store their values",
            )


def _all_nodes(main: Iterable[Any], functions: dict[str, Any]) -> Iterator[Any]:
    yield from main
    for body in functions.values():
        yield from body


def _check_calls(main: Any, functions: dict[str, Any]) -> None:
    """Refuse recursion, and nested calls that grow without bound when they are inlined."""
    function_names = frozenset(functions)
    calls = {name: [callee for node in body for callee in called_functions(node, function_names)]
             for name, body in functions.items()}  # fmt: skip
    size, depth = dict[str, int](), dict[str, int]()
    for name in _callees_first(calls):
        size[name] = min(
            _MOST_INLINED + 1, len(functions[name]) + sum(size[callee] for callee in calls[name])
        )
        depth[name] = 1 + max((depth[callee] for callee in calls[name]), default=0)
        if depth[name] > _DEEPEST_CALLS:
            raise _refused_graph(
                f"function {name}, whose calls are nested {depth[name]} deep", "call fewer functions"
            )
    total = sum(size[callee] for node in main for callee in called_functions(node, function_names))
    worst = max(size, key=size.__getitem__, default="")
    if total > _MOST_INLINED or size.get(worst, 0) > _MOST_INLINED:
        raise _refused_graph(
            f"function {worst}, which calls functions so often that over {_MOST_INLINED} nodes would run",
            "write repeated steps as a loop (tf.while_loop)",
        )


def _callees_first(calls: dict[str, list[str]]) -> Iterator[str]:
    """Yield each function after all that it calls.

    Raises:
        ModelRefused: a function calls itself, directly or through others.
    """
    done, open_ = set[str](), set[str]()
    for root, called in calls.items():
        stack = [(root, iter(called))] if root not in done else []
        open_.update(name for name, _ in stack)
        while stack:
            name, callees = stack[-1]
            callee = next((function for function in callees if function not in done), None)
            if callee is None:
                stack.pop()
                open_.discard(name)
                done.add(name)
                yield name
            elif callee in open_:
                raise _refused_graph(f"function {callee}, which calls itself", "write recursion as a loop")
            else:
                open_.add(callee)
                stack.append((callee, iter(calls[callee])))


def _refused_graph(problem: str, fix: str) -> ModelRefused:
    return ModelRefused(wanted="a graph whose size is known from its file", found=problem, fix=fix)
