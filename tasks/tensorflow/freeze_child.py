"""Child: one signature becomes a graph without variables, folded by TensorFlow's own optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf
import tf2onnx.tf_loader
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.grappler import tf_optimizer

from tasks.domain.errors import FarmError, ModelRefused, OperationUnsupported
from tasks.domain.record import TensorSpec

_LARGEST_GRAPH = 1900 << 20


@dataclass(slots=True, kw_only=True)
class FrozenGraph:
    """A graph and how its tensors are called in the signature.

    Attributes:
        graph: TensorFlow's `GraphDef`, weights included; None once it was taken.
        inputs: tensor names in `graph` by the signature's input names.
        outputs: tensor names in `graph` by the signature's output names.
    """

    graph: Any
    inputs: dict[str, str]
    outputs: dict[str, str]

    def take(self) -> Any:
        """Return the graph and forget it: a message's memory is freed with its last reference only."""
        graph, self.graph = self.graph, None
        return graph


def freeze(function: Any, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> FrozenGraph:
    """Return the graph of the loaded signature `function`, variables written in as constants.

    Raises:
        ModelRefused: the weights do not fit into one ONNX file (2 GiB).
        OperationUnsupported: TensorFlow cannot make it a graph without variables.
    """
    weights = sum(variable.shape.num_elements() * variable.dtype.size for variable in function.variables)
    if weights > _LARGEST_GRAPH:
        raise ModelRefused(
            wanted=f"at most {_LARGEST_GRAPH >> 20} MiB of weights, which fit into one ONNX file",
            found=f"{weights >> 20} MiB",
            fix="use a smaller model, or split it into several releases",
        )
    names = {_user_name(tensor): tensor.name for tensor in function.inputs if tensor.dtype != tf.resource}
    fed = {spec.name: names[spec.name] for spec in inputs}
    # A loaded signature returns its outputs in the order of their sorted names.
    taken = dict(
        zip(sorted(function.structured_outputs), (out.name for out in function.outputs), strict=True)
    )
    fetched = {spec.name: taken[spec.name] for spec in outputs}
    with failures_named("a graph without variables"):
        graph = tf2onnx.tf_loader.convert_variables_to_constants_large_model(function)
        graph = tf2onnx.tf_loader.fix_freezing_errors_part2(graph)
    return FrozenGraph(graph=graph, inputs=fed, outputs=fetched)


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


def fold(frozen: FrozenGraph) -> FrozenGraph:
    """Run Grappler as `tf2onnx.tf_loader.tf_optimize` does, with a fraction of its memory.

    The graph is taken from `frozen`.

    Raises:
        OperationUnsupported: Grappler refuses the graph.
    """
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    config.graph_options.infer_shapes = True
    rewriting.optimizers[:] = ["constfold", "function", "dependency"]
    rewriting.experimental_disable_folding_quantization_emulation = True
    with failures_named("a graph that TensorFlow's optimiser reads"):
        # The message is handed over unnamed, so that it is gone once it is serialised.
        return replace(frozen, graph=tf_optimizer.OptimizeGraph(config, _meta_graph(frozen)))


def _meta_graph(frozen: FrozenGraph) -> Any:
    kept = [*frozen.inputs.values(), *frozen.outputs.values()]
    _bypass_identities(frozen.graph)
    _drop_unread_identities(frozen.graph, {_node_name(name) for name in kept})
    meta = meta_graph_pb2.MetaGraphDef()
    meta.graph_def.CopyFrom(frozen.take())
    meta.collection_def["train_op"].node_list.value.extend(kept)
    return meta


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").split(":", 1)[0]


def _bypass_identities(graph: Any) -> None:
    """Let readers of a constant's identity read the constant: Grappler would make each a copy of it."""
    nodes = {node.name: node for node in graph.node}

    def origin(name: str) -> str:
        node = nodes.get(_node_name(name))
        while node is not None and node.op == "Identity" and len(node.input) == 1:
            node = nodes.get(_node_name(node.input[0]))
        return str(node.name) if node is not None and node.op == "Const" else name

    for node in graph.node:
        node.input[:] = [name if name.startswith("^") else origin(name) for name in node.input]


def _drop_unread_identities(graph: Any, kept: set[str]) -> None:
    read = kept | {_node_name(name) for node in graph.node for name in node.input}
    for index in reversed(range(len(graph.node))):
        if graph.node[index].op == "Identity" and graph.node[index].name not in read:
            del graph.node[index]
