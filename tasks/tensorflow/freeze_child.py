"""Child: one signature becomes a graph without variables, whose large weights lie in a file.

In the graph a large weight is a placeholder of its shape, under its name: whatever copies the graph, and
TensorFlow and tf2onnx do so all the time, copies no weights. What the signature computes from weights
alone is computed here, since an optimiser that sees placeholders cannot.
"""

# ruff: noqa: SLF001 (TensorFlow's public way out of variables makes constants of them)

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf2onnx.tf_loader
from tensorflow.python.framework import convert_to_constants as tf_freezing

from tasks.children.weights import Scratch
from tasks.domain.errors import FarmError, OperationUnsupported
from tasks.domain.record import TensorSpec
from tasks.tensorflow.weights_child import Weights, is_large


@dataclass(slots=True, kw_only=True)
class FrozenGraph:
    """A graph and how its tensors are called in the signature.

    Attributes:
        graph: TensorFlow's `GraphDef`, with placeholders for large weights.
        weights: the large weights, by the name of their node.
        inputs: tensor names in `graph` by the signature's input names.
        outputs: tensor names in `graph` by the signature's output names.
    """

    graph: Any
    weights: Weights
    inputs: dict[str, str]
    outputs: dict[str, str]


def freeze(
    function: Any, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], room: Scratch
) -> FrozenGraph:
    """Return the graph of the loaded signature `function`; its variables are not needed any more.

    Raises:
        OperationUnsupported: TensorFlow cannot make it a graph without variables.
    """
    names = {_user_name(tensor): tensor.name for tensor in function.inputs if tensor.dtype != tf.resource}
    fed = {spec.name: names[spec.name] for spec in inputs}
    # A loaded signature returns its outputs in the order of their sorted names.
    taken = dict(
        zip(sorted(function.structured_outputs), (out.name for out in function.outputs), strict=True)
    )
    fetched = {spec.name: taken[spec.name] for spec in outputs}
    with failures_named("a graph without variables"):
        captures = _SmallCaptures(func=function, lower_control_flow=False, aggressive_inlining=True)
        graph, _ = tf_freezing._replace_variables_by_constants(captures)
        graph = tf2onnx.tf_loader.fix_freezing_errors_part2(graph)
        weights = Weights(room)
        weights.take(graph, _large_captures(function))
    return FrozenGraph(graph=graph, weights=weights, inputs=fed, outputs=fetched)


class _SmallCaptures(tf_freezing._FunctionConverterDataInEager):  # type: ignore[misc]
    """What a function captures, as values; of a large weight only its type, which decides those of nodes."""

    def _eval(self, tensor: Any) -> Any:
        return np.zeros((), tensor.dtype.as_numpy_dtype) if is_large(tensor) else super()._eval(tensor)


def _large_captures(function: Any) -> dict[str, Any]:
    """Return the large variables and tensors that `function` captures, by the names of their nodes."""
    variables = {id(variable.handle): variable for variable in function.graph.variables}
    captures = zip(function.captured_inputs, function.graph.internal_captures, strict=True)
    found = {inner.op.name: variables.get(id(outer), outer) for outer, inner in captures}
    return {name: value for name, value in found.items() if value.dtype != tf.resource and is_large(value)}


@contextmanager
def failures_named(wanted: str) -> Iterator[None]:
    """Turn whatever TensorFlow's and tf2onnx's rewriters run into to `OperationUnsupported`."""
    try:
        yield
    except (FarmError, MemoryError):
        raise
    except Exception as error:
        raise OperationUnsupported(
            wanted=wanted,
            found=f"{type(error).__name__}: {str(error)[:500]}",
            fix="replace the operation that the message names, or compute it outside the engine",
        ) from error


def _user_name(tensor: Any) -> str:
    return str(tensor.op.get_attr("_user_specified_name").decode())
