"""Conditions: fixed sizes decide some of them at conversion, and `tf.switch_case` becomes a chain of them.

ONNX and tf2onnx have only `If`.

TensorRT-RTX 1.7 cannot compile conditions inside conditions, so each stands alone and passes on the result of
the previous condition. The last branch, which serves all other indices, is always computed.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph_def

from tasks.tensorflow.rewrites.rules import Site
from tasks.tensorflow.rewrites.values import static_value


def switch(site: Site) -> list[Any]:
    """Return what the chosen branch returns."""
    index, *inputs = site.inputs
    names = [function.name for function in site.op.node_def.attr["branches"].list.func]
    branches = [site.op.graph._functions[name].definition for name in names]  # noqa: SLF001 (as tf2onnx does)

    results = _inlined(branches[-1], inputs)
    for number, branch in enumerate(branches[:-1]):
        results = _branch_or(tf.equal(index, number), branch, inputs, results)
    return results


def decided(site: Site) -> list[Any] | None:
    """Return the results of the only branch that can be taken; None if fixed sizes do not decide."""
    condition, *inputs = site.inputs
    value = static_value(condition)
    if value is None or value.shape != ():
        return None
    branch = site.attr("then_branch" if value else "else_branch").name
    return _inlined(site.op.graph._functions[branch].definition, inputs)  # noqa: SLF001 (as tf2onnx does)


def _branch_or(condition: Any, branch: Any, inputs: list[Any], other_results: list[Any]) -> list[Any]:
    return list(
        tf.cond(condition, lambda: _inlined(branch, inputs), lambda: list(map(tf.identity, other_results)))
    )


def _inlined(function: Any, inputs: list[Any]) -> list[Any]:
    """Return what the function definition `function` returns for `inputs`, computed in the current graph."""
    graph, names = function_def_to_graph_def(function)
    given = {
        arg.name: tf.identity(value) for arg, value in zip(function.signature.input_arg, inputs, strict=True)
    }
    outputs = [names[function.ret[arg.name]] for arg in function.signature.output_arg]
    results: list[Any] = tf.import_graph_def(graph, input_map=given, return_elements=outputs, name="branch")
    return results
