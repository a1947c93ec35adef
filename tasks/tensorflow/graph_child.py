"""Child: a frozen TensorFlow graph becomes an ONNX graph by tf2onnx, without its copies of the weights.

tf2onnx writes the constants that it computes (transposed kernels) again into their messages on every
optimiser pass, and a message never releases its memory: a 100 MB network then needs gigabytes. A constant's
message is not read before the model is made, and then from its attributes, so leaving constants alone
changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import tensorflow as tf
import tf2onnx.graph
import tf2onnx.optimizer
from tf2onnx import tfonnx

from tasks.children.plugin_domain import PLUGIN_DOMAIN
from tasks.children.weights import save
from tasks.domain.errors import FarmError, OperationUnsupported
from tasks.domain.layers import placed
from tasks.tensorflow.failures_child import failures_named
from tasks.tensorflow.fold_child import fold, reaching
from tasks.tensorflow.freeze_child import FrozenGraph
from tasks.tensorflow.optimiser_child import correct_passes
from tasks.tensorflow.preflight.graph_rules import nearest_fix
from tasks.tensorflow.rewrites.apply import DECIDED, FIRST, apply_rewrites
from tasks.tensorflow.rewrites.narrow_integers import widen_narrow_integers
from tasks.tensorflow.rewrites.nearest_resize import round_as_tensorrt
from tasks.tensorflow.rewrites.resize_scales import exact_scales
from tasks.tensorflow.rewrites.rules import Rewrite
from tasks.tensorflow.rewrites.separate_functions import separated
from tasks.tensorflow.rewrites.suppression import replace_eye_like
from tasks.tensorflow.rewrites.transposed_convolution import with_output_padding
from tasks.tensorflow.weights_child import Weights, node_name

_MOST_NAMES = 3
_update_proto = tf2onnx.graph.Node.update_proto


def _update_all_but_constants(self: Any, external_tensor_storage: Any = None) -> None:
    if not self.is_const():
        _update_proto(self, external_tensor_storage)


tf2onnx.graph.Node.update_proto = _update_all_but_constants
_resolve_functions = tfonnx.resolve_functions


def _rewritten_functions(graph: Any) -> Any:
    functions = _resolve_functions(graph)
    for function in functions:  # bodies of loops and branches
        apply_rewrites(function)
    return functions


tfonnx.resolve_functions = _rewritten_functions
correct_passes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An ONNX graph on disk.

    Attributes:
        weights: the file of its large weights beside it; None if it has none.
        plugin_ops: TensorFlow operations in it that are left to TensorRT plugins, sorted.
    """

    weights: Path | None
    plugin_ops: list[str]


def write_onnx(frozen: FrozenGraph, target: Path, *, opset: int, plugin_ops: frozenset[str]) -> Written:
    """Write the ONNX form of `frozen` as `target`, tensors named as in the signature.

    Operations without an ONNX form that are among `plugin_ops` stay as they are, in the domain of TensorRT's
    plugins.

    Raises:
        OperationUnsupported: an operation has no ONNX form at `opset`.
    """
    graph = fold(frozen)
    with failures_named(f"an ONNX form of the model at opset {opset}"):
        try:
            model = _convert_with_retry(frozen, graph, opset, plugin_ops, {**FIRST, **DECIDED})
        except (FarmError, MemoryError):
            raise
        except Exception:  # noqa: BLE001 (tf2onnx cannot read some conditions of a branch that was inlined)
            model = _convert_with_retry(frozen, graph, opset, plugin_ops, FIRST)
    remaining_plugin_ops = _mark_plugin_nodes(model, opset, plugin_ops)
    refuse_leftovers(model, opset)
    target.parent.mkdir(exist_ok=True)
    return Written(weights=save(model, target, one_file=0), plugin_ops=remaining_plugin_ops)


class _OptimiserError(Exception):
    """An optimiser pass of tf2onnx stopped; the graph is half changed."""


def _optimised(graph: Any, *, catch_errors: bool) -> Any:
    """Return the graph after tf2onnx's passes; catching errors means a copy of the graph for each of them."""
    try:
        return tf2onnx.optimizer.optimize_graph(graph, catch_errors=catch_errors)
    except MemoryError:
        raise
    except Exception as error:
        raise _OptimiserError from error


def _convert_with_retry(
    frozen: FrozenGraph, graph: Any, opset: int, plugin_ops: frozenset[str], first: Mapping[str, Rewrite]
) -> onnx.ModelProto:
    try:
        return _convert(frozen, graph, opset, plugin_ops, first, catch_errors=False)
    except _OptimiserError:  # one of tf2onnx's own passes; the graph is right without it
        return _convert(frozen, graph, opset, plugin_ops, first, catch_errors=True)


def _convert(  # noqa: PLR0913 (what stays the same in another attempt, and what does not)
    frozen: FrozenGraph,
    folded: Any,
    opset: int,
    plugin_ops: frozenset[str],
    first: Mapping[str, Rewrite],
    *,
    catch_errors: bool,
) -> onnx.ModelProto:
    """Do what `tf2onnx.tfonnx.process_tf_graph` does; weights get their values before anything reads them."""
    tfonnx.clear_functions()
    graph, outputs = _graph_of(folded), frozen.outputs
    while replaced := apply_rewrites(graph, frozen.tables, rules=first):  # a branch may have conditions, too
        outputs = {name: replaced.get(tensor, tensor) for name, tensor in outputs.items()}
        used = {node_name(tensor) for tensor in (*frozen.inputs.values(), *outputs.values())}
        graph = _graph_of(reaching(graph.as_graph_def(), used))  # in a new graph, shapes are inferred again
    with tf.device("/cpu:0"), graph.as_default():
        replaced = apply_rewrites(graph, frozen.tables)
        outputs = {name: replaced.get(tensor, tensor) for name, tensor in outputs.items()}
        main, inner = tfonnx.graphs_from_tf(graph, list(frozen.inputs.values()), list(outputs.values()))
        for part in (main, *inner):
            part.set_config(opset=opset)
        _give_weights(main, frozen.weights)
        renamed = {tensor: name for name, tensor in (frozen.inputs | outputs).items()}
        converted = tfonnx.process_graphs(main, inner, None, [], [], False, None, None, renamed)
        return _as_model(_optimised(converted, catch_errors=catch_errors), plugin_ops)


def _as_model(graph: Any, plugin_ops: frozenset[str]) -> onnx.ModelProto:
    """Return the graph of tf2onnx as a model, in forms that TensorRT takes."""
    model: onnx.ModelProto = graph.make_model("converted from TensorFlow")
    model.graph.value_info.extend(_types_of(graph, plugin_ops))
    round_as_tensorrt(_nodes(model.graph))
    with_output_padding(_nodes(model.graph))
    replace_eye_like(model.graph)
    exact_scales(model.graph, graph.get_shape)
    widen_narrow_integers(model.graph, graph.get_dtype)
    return model


def _graph_of(definition: Any) -> Any:
    with tf.device("/cpu:0"), tf.Graph().as_default() as graph:
        tf.import_graph_def(separated(definition), name="")
    return graph


def _types_of(graph: Any, plugin_ops: frozenset[str]) -> Iterator[onnx.ValueInfoProto]:
    """Yield the types of the plugins' outputs: nothing can infer them later."""
    for node in graph.get_nodes():
        if node.type in plugin_ops:
            for name in node.output:
                shape = [dim if dim >= 0 else None for dim in graph.get_shape(name) or ()]
                yield onnx.helper.make_tensor_value_info(name, graph.get_dtype(name), shape)


def _give_weights(graph: Any, weights: Weights) -> None:
    """Make constants of the placeholders; tf2onnx reads the file when it asks for the value."""
    for node in graph.get_nodes():
        if node.name in weights.tensors:
            tensor = weights.tensors[node.name]
            tensor.name = node.output[0]
            node.type = "Const"
            node.set_attr("value", tensor)


def _mark_plugin_nodes(model: onnx.ModelProto, opset: int, plugin_ops: frozenset[str]) -> list[str]:
    """Mark the nodes that plugins compute; return their operations."""
    nodes = [node for node in _nodes(model.graph) if node.op_type in plugin_ops and not _is_onnx(node, opset)]
    for node in nodes:
        node.domain = PLUGIN_DOMAIN
    if nodes:
        model.opset_import.append(onnx.helper.make_opsetid(PLUGIN_DOMAIN, 1))
    return sorted({node.op_type for node in nodes})


def _is_onnx(node: onnx.NodeProto, opset: int) -> bool:
    return node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type, opset, "")


def refuse_leftovers(model: onnx.ModelProto, opset: int) -> None:
    """Refuse operations that tf2onnx left as they were: it only logs them.

    Raises:
        OperationUnsupported: the error names the first kind and its nodes.
    """
    leftovers: dict[str, list[str]] = {}
    for node in _nodes(model.graph):
        if node.domain != PLUGIN_DOMAIN and not _is_onnx(node, opset):
            leftovers.setdefault(node.op_type, []).append(node.name)
    if leftovers:
        op, names = next(iter(leftovers.items()))
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        others = f"; also {', '.join(list(leftovers)[1:])}" if len(leftovers) > 1 else ""
        raise OperationUnsupported(
            wanted=f"an ONNX form of every operation at opset {opset}",
            found=f"{op} ({'; '.join(map(placed, names[:_MOST_NAMES]))}{more}){others}",
            fix=nearest_fix(op),
        )


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)
            for inner in attribute.graphs:
                yield from _nodes(inner)
