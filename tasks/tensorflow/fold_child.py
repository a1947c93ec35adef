"""Child: computes what follows from constants alone, and lets TensorFlow's own optimiser run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.framework import op_def_registry
from tensorflow.python.grappler import tf_optimizer

from tasks.children.weights import LARGE
from tasks.tensorflow.failures_child import failures_named
from tasks.tensorflow.freeze_child import FrozenGraph
from tasks.tensorflow.weights_child import Weights, become, node_name

# Folding would remove the marks of a quantised model; the rest is control flow of TensorFlow 1.
_NEVER_FOLDED = ("FakeQuant", "Quantize", "Dequantize", "Enter", "Exit", "Merge", "NextIteration", "Switch")


def fold(frozen: FrozenGraph) -> Any:
    """Return the optimised `GraphDef` of `frozen`, as `tf2onnx.tf_loader.tf_optimize` would.

    Raises:
        OperationUnsupported: TensorFlow refuses the graph.
    """
    kept = [*frozen.inputs.values(), *frozen.outputs.values()]
    names = {node_name(tensor) for tensor in kept}
    with failures_named("a graph that TensorFlow's optimiser reads"):
        _bypass_identities(frozen.graph, frozen.weights)
        _fold_weights(frozen.graph, frozen.weights, names)
        meta = meta_graph_pb2.MetaGraphDef()
        meta.graph_def.CopyFrom(reaching(frozen.graph, names))
        meta.collection_def["train_op"].node_list.value.extend(kept)
        config = config_pb2.ConfigProto()
        rewriting = config.graph_options.rewrite_options
        config.graph_options.infer_shapes = True
        rewriting.optimizers[:] = ["constfold", "function", "dependency"]
        rewriting.experimental_disable_folding_quantization_emulation = True
        return tf_optimizer.OptimizeGraph(config, meta)


def _bypass_identities(graph: Any, weights: Weights) -> None:
    """Connect readers of a constant's identity to the constant: Grappler would copy it for each."""
    nodes = {node.name: node for node in graph.node}

    def origin(name: str) -> str:
        node = nodes.get(node_name(name))
        while node is not None and node.op == "Identity" and len(node.input) == 1:
            node = nodes.get(node_name(node.input[0]))
        if node is None or not (node.op == "Const" or node.name in weights.tensors):
            return name
        return str(node.name)

    for node in graph.node:
        node.input[:] = [name if name.startswith("^") else origin(name) for name in node.input]


def reaching(graph: Any, names: set[str]) -> Any:
    """Return the part of `graph` that the nodes `names` need."""
    nodes = {node.name: node for node in graph.node}
    needed, pending = set(names), list(names)
    while pending:
        new = {node_name(tensor) for tensor in nodes[pending.pop()].input} - needed
        needed |= new
        pending.extend(new)
    kept = [node for node in graph.node if node.name in needed]
    return type(graph)(node=kept, library=graph.library, versions=graph.versions)


def _fold_weights(graph: Any, weights: Weights, kept: set[str]) -> None:
    """Compute what follows from large weights and constants, and replace it by constants."""
    nodes = {node.name: node for node in graph.node}
    if not _find_constants(nodes, weights, kept, lambda _: True).heavy - weights.tensors.keys():
        return
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
    constants = _find_constants(
        nodes, weights, kept, lambda node: _no_larger(imported.get_operation_by_name(node.name))
    )
    read = {
        name
        for node in graph.node
        if node.name not in constants.all
        for name in node.input
        if not name.startswith("^") and node_name(name) in constants.heavy - weights.tensors.keys()
    }
    folded = {}
    with tf.compat.v1.Session(graph=imported) as session:
        for name in sorted(read):
            tensor = imported.as_graph_element(name if ":" in name else f"{name}:0")
            fed = {
                f"{origin}:0": weights.value(origin) for origin in _origins(nodes, node_name(name), weights)
            }
            folded[name] = _constant(graph, weights, name, session.run(tensor, fed))
    for node in graph.node:
        node.input[:] = [folded.get(name, name) for name in node.input]


@dataclass(frozen=True, slots=True)
class _ConstantNodes:
    """Names of nodes that follow from constants alone; the heavy ones from large weights, too."""

    all: set[str]
    heavy: set[str]


def _find_constants(
    nodes: dict[str, Any], weights: Weights, kept: set[str], fits: Callable[[Any], bool]
) -> _ConstantNodes:
    readers = defaultdict[str, list[str]](list)
    for node in nodes.values():
        for name in node.input:
            readers[node_name(name)].append(node.name)
    missing = {name: len(node.input) for name, node in nodes.items()}
    heavy = set(weights.tensors)
    constant = heavy | {name for name, node in nodes.items() if node.op == "Const"}
    pending = list(constant)
    while pending:
        for reader in readers[pending.pop()]:
            missing[reader] -= 1
            node = nodes[reader]
            if missing[reader] == 0 and reader not in kept | constant and _foldable(node) and fits(node):
                constant.add(reader)
                pending.append(reader)
                if any(node_name(name) in heavy for name in node.input):
                    heavy.add(reader)
    return _ConstantNodes(constant, heavy)


def _foldable(node: Any) -> bool:
    definition = op_def_registry.get(node.op)  # None for a call of a function
    calls = any(attribute.HasField("func") for attribute in node.attr.values())
    return (
        definition is not None
        and not definition.is_stateful
        and not calls
        and not node.op.startswith(_NEVER_FOLDED)
    )


def _no_larger(operation: Any) -> bool:
    """Return whether a result is small, or no larger than what it is computed from: Grappler's rule, too."""
    return _bytes(operation.outputs) <= max(LARGE, _bytes(operation.inputs))


def _bytes(tensors: Iterable[Any]) -> float:
    sizes = [(tensor.shape.num_elements(), tensor.dtype.size) for tensor in tensors]
    return sum(float("inf") if count is None else count * size for count, size in sizes)


def _origins(nodes: dict[str, Any], name: str, weights: Weights) -> set[str]:
    """Return the large weights from which the node `name` follows."""
    if name in weights.tensors:
        return {name}
    return {origin for tensor in nodes[name].input for origin in _origins(nodes, node_name(tensor), weights)}


def _constant(graph: Any, weights: Weights, tensor: str, value: Any) -> str:
    """Add a node for the computed `value` of `tensor`, and return its name."""
    node = graph.node.add(name=f"{tensor.replace(':', '_')}/folded")
    if value.nbytes >= LARGE:
        weights.hold(node, value)
    else:
        become(node, "Const")
        node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return str(node.name)
