"""Child: one signature becomes a graph without variables, folded by TensorFlow's own optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf2onnx.tf_loader
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.grappler import tf_optimizer

from tasks.domain.errors import FarmError, ModelRefused, OperationUnsupported
from tasks.domain.record import TensorSpec

_LARGEST_GRAPH = 1900 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenGraph:
    """A graph and how its tensors are called in the signature.

    Attributes:
        graph: TensorFlow's `GraphDef`, weights included.
        inputs: tensor names in `graph` by the signature's input names.
        outputs: tensor names in `graph` by the signature's output names.
    """

    graph: Any
    inputs: dict[str, str]
    outputs: dict[str, str]


def freeze(function: Any, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> FrozenGraph:
    """Return the frozen graph of the loaded signature `function`.

    Raises:
        ModelRefused: the weights do not fit into one ONNX file (2 GiB).
        OperationUnsupported: TensorFlow cannot make it a graph without variables.
    """
    weights = sum(variable.shape.num_elements() * variable.dtype.size for variable in function.variables)
    if weights > _LARGEST_GRAPH:
        raise ModelRefused(
            wanted=f"at most {_LARGEST_GRAPH >> 20} MiB of weights, which fit into one ONNX file",
            found=f"{weights >> 20} MiB",
            fix="store the weights as float16, or split the model into several releases",
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
        graph = _fold(graph, [*fed.values(), *fetched.values()])
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


def _fold(graph: Any, kept: list[str]) -> Any:
    """Run Grappler as `tf2onnx.tf_loader.tf_optimize` does, with half the copies of the weights."""
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    config.graph_options.infer_shapes = True
    rewriting.optimizers[:] = ["constfold", "function", "dependency"]
    rewriting.experimental_disable_folding_quantization_emulation = True
    meta = meta_graph_pb2.MetaGraphDef(graph_def=graph)
    graph.Clear()
    meta.collection_def["train_op"].node_list.value.extend(kept)
    return tf_optimizer.OptimizeGraph(config, meta)
