"""Child: a frozen TensorFlow graph becomes an ONNX graph by tf2onnx, without its copies of the weights.

tf2onnx writes the constants that it computes (transposed kernels) anew into their messages on every
optimiser pass, and no message gives its memory back: a 100 MB network then needs gigabytes. A constant's
message is not read before the model is made, and then from its attributes, so leaving constants alone
changes nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import tensorflow as tf
import tf2onnx.graph
import tf2onnx.optimizer
from tf2onnx import tfonnx

from tasks.children.weights import save
from tasks.domain.errors import OperationUnsupported
from tasks.domain.layers import placed
from tasks.tensorflow.failures_child import failures_named
from tasks.tensorflow.fold_child import fold
from tasks.tensorflow.freeze_child import FrozenGraph
from tasks.tensorflow.graph_rules import nearest_fix
from tasks.tensorflow.rewrites.apply import apply_rewrites
from tasks.tensorflow.rewrites.nearest_resize import round_as_tensorrt
from tasks.tensorflow.weights_child import Weights

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


def write_onnx(frozen: FrozenGraph, target: Path, *, opset: int) -> Path | None:
    """Write the ONNX form of `frozen` as `target`, tensors named as in the signature.

    Returns:
        The file of its large weights beside it; None where it has none.

    Raises:
        OperationUnsupported: an operation has no ONNX form at `opset`.
    """
    graph = fold(frozen)
    with failures_named(f"an ONNX form of the model at opset {opset}"):
        model = _convert(frozen, graph, opset)
    refuse_leftovers(model, opset)
    target.parent.mkdir(exist_ok=True)
    return save(model, target, one_file=0)


def _convert(frozen: FrozenGraph, folded: Any, opset: int) -> onnx.ModelProto:
    """Do what `tf2onnx.tfonnx.process_tf_graph` does; before any value is asked for, weights get theirs."""
    tfonnx.clear_functions()
    with tf.device("/cpu:0"), tf.Graph().as_default() as graph:
        tf.import_graph_def(folded, name="")
        replaced = apply_rewrites(graph, frozen.tables)
        outputs = {name: replaced.get(tensor, tensor) for name, tensor in frozen.outputs.items()}
        main, inner = tfonnx.graphs_from_tf(graph, list(frozen.inputs.values()), list(outputs.values()))
        for one in (main, *inner):
            one.set_config(opset=opset)
        _give_weights(main, frozen.weights)
        renamed = {tensor: name for name, tensor in (frozen.inputs | outputs).items()}
        converted = tfonnx.process_graphs(main, inner, None, [], [], False, None, None, renamed)
        # Catching errors would mean a deep copy of the graph per optimiser pass.
        optimised = tf2onnx.optimizer.optimize_graph(converted, catch_errors=False)
        model: onnx.ModelProto = optimised.make_model("converted from TensorFlow")
        round_as_tensorrt(_nodes(model.graph))
        return model


def _give_weights(graph: Any, weights: Weights) -> None:
    """Make constants of the placeholders; tf2onnx reads the file where it asks one for its value."""
    for node in graph.get_nodes():
        if node.name in weights.tensors:
            tensor = weights.tensors[node.name]
            tensor.name = node.output[0]
            node.type = "Const"
            node.set_attr("value", tensor)


def refuse_leftovers(model: onnx.ModelProto, opset: int) -> None:
    """Refuse operations that tf2onnx left as they were: it only logs them.

    Raises:
        OperationUnsupported: the error names the first kind and its nodes.
    """
    left: dict[str, list[str]] = {}
    for node in _nodes(model.graph):
        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, opset, ""):
            left.setdefault(node.op_type, []).append(node.name)
    if left:
        op, names = next(iter(left.items()))
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        others = f"; also {', '.join(list(left)[1:])}" if len(left) > 1 else ""
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
