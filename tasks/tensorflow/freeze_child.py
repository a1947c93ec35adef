"""Child: one signature becomes a graph without variables, whose large weights are in a file.

In the graph a large weight is a placeholder of its shape, under its name: copies of the graph, which
TensorFlow and tf2onnx make all the time, contain no weights. What the signature computes from weights
alone is computed here, because an optimiser that sees placeholders cannot.
"""

# ruff: noqa: SLF001 (TensorFlow's public way out of variables makes constants of them)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import tensorflow as tf
import tf2onnx.tf_loader
from tensorflow.core.framework import tensor_pb2
from tensorflow.python.framework import convert_to_constants as tf_freezing
from tensorflow.python.framework import tensor_util

from tasks.children.weights import Scratch
from tasks.domain.record import TensorSpec
from tasks.tensorflow.failures_child import failures_named
from tasks.tensorflow.input_names import name_among
from tasks.tensorflow.needed_child import keep_needed
from tasks.tensorflow.rewrites.lookup_tables import read_tables
from tasks.tensorflow.weights_child import Weights, is_large

_USER_NAME = "_user_specified_name"


@dataclass(slots=True, kw_only=True)
class FrozenGraph:
    """A graph, and its tensors by their names in the signature.

    Attributes:
        graph: TensorFlow's `GraphDef`, with placeholders for large weights.
        weights: the large weights, by the name of their node.
        inputs: tensor names in `graph` by the signature's input names.
        outputs: tensor names in `graph` by the signature's output names.
        tables: keys and values of the lookup tables, by the names of their tensors.
    """

    graph: Any
    weights: Weights
    inputs: dict[str, str]
    outputs: dict[str, str]
    tables: dict[str, tuple[Any, Any]]


def freeze(
    function: Any,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    renamed: Mapping[str, str],
    room: Scratch,
) -> FrozenGraph:
    """Return the graph of the loaded signature `function`; its variables are no longer needed.

    Args:
        function: the signature.
        inputs: its inputs.
        outputs: its outputs.
        renamed: the signature's names of outputs that have other names in `outputs`.
        room: where large weights go.

    Raises:
        OperationUnsupported: TensorFlow cannot make it a graph without variables.
    """
    declared = function.inputs[: len(function.inputs) - len(function.captured_inputs)]
    names = _user_names(function, declared)
    fed = {spec.name: names[name_among(names, spec.name)] for spec in inputs}
    # A loaded signature returns its outputs in the order of their sorted names.
    tensor_names = dict(
        zip(sorted(function.structured_outputs), (out.name for out in function.outputs), strict=True)
    )
    fetched = {spec.name: tensor_names[renamed.get(spec.name, spec.name)] for spec in outputs}
    # Graphs of TensorFlow 1 name the initialisers of their tables. They have run, and no signature has them.
    function.graph.clear_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS)
    with failures_named("a graph without variables"):
        large = _large_captures(function)
        graph = _without_variables(function, large)
        weights = Weights(room)
        weights.take(graph, large)
        tables = read_tables(function, graph)
    return FrozenGraph(graph=graph, weights=weights, inputs=fed, outputs=fetched, tables=tables)


def _without_variables(function: Any, large: dict[str, Any]) -> Any:
    """Return the graph of `function` with constants for variables; those for `large` have no values."""
    make_proto = tensor_util.make_tensor_proto

    def make(values: Any, dtype: Any = None, shape: Any = None, **options: Any) -> Any:
        if isinstance(values, np.ndarray) and values.size > 1 and not any(values.strides):  # a stand-in
            return tensor_pb2.TensorProto(dtype=dtype, tensor_shape=tf.TensorShape(shape).as_proto())
        return make_proto(values, dtype, shape, **options)

    inline = tf_freezing._run_inline_graph_optimization

    def inline_needed(*arguments: Any) -> Any:
        graph = inline(*arguments)
        keep_needed(graph, [tensor.op.name for tensor in (*function.inputs, *function.outputs)])
        return graph

    with (
        patch.object(tensor_util, "make_tensor_proto", make),
        patch.object(tf_freezing, "_run_inline_graph_optimization", inline_needed),
    ):
        graph, _ = tf_freezing._replace_variables_by_constants(_Captures(function, large))
    return tf2onnx.tf_loader.fix_freezing_errors_part2(graph)


class _Captures(tf_freezing._FunctionConverterDataInEager):  # type: ignore[misc]
    """The values that a function captures; of a large weight only type and shape, which nodes show."""

    def __init__(self, function: Any, large: dict[str, Any]) -> None:
        self._large = large
        super().__init__(
            func=function,
            lower_control_flow=False,
            aggressive_inlining=True,
            variable_names_denylist=set(large),
        )

    def _build_tensor_data(self) -> None:
        super()._build_tensor_data()
        for index, inner in enumerate(self._func.graph.internal_captures):
            value = self._large.get(inner.op.name)
            if value is not None:
                stand_in = np.broadcast_to(np.zeros((), value.dtype.as_numpy_dtype), value.shape)
                self._tensor_data[inner.op.name] = tf_freezing._TensorData(
                    numpy=stand_in, dtype=value.dtype.as_datatype_enum, index=index
                )


def _large_captures(function: Any) -> dict[str, Any]:
    """Return the large variables and tensors that `function` captures, by the names of their nodes."""
    variables = {id(variable.handle): variable for variable in function.graph.variables}
    captures = zip(function.captured_inputs, function.graph.internal_captures, strict=True)
    captured = {inner.op.name: variables.get(id(outer), outer) for outer, inner in captures}
    return {name: value for name, value in captured.items() if value.dtype != tf.resource and is_large(value)}


def _user_names(function: Any, declared: list[Any]) -> dict[str, str]:
    """Return the names of the inputs' tensors, by their names in the signature.

    TensorFlow 2 wrote those into the placeholders; for a model of TensorFlow 1, the loaded function has them
    in the order of its inputs.
    """
    if all(_USER_NAME in tensor.op.node_def.attr for tensor in declared):
        return {tensor.op.get_attr(_USER_NAME).decode(): tensor.name for tensor in declared}
    return {name: tensor.name for name, tensor in zip(function._arg_keywords, declared, strict=True)}
