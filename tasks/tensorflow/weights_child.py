"""Child: the large weights of a TensorFlow graph, in a file; placeholders in the graph stand for them."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf2onnx.tf_utils
from onnx import TensorProto, numpy_helper

from tasks.children.weights import LARGE, Scratch


class Weights:
    """Large weights by the names of the placeholders that stand for them."""

    def __init__(self, room: Scratch) -> None:
        self.tensors: dict[str, TensorProto] = {}
        self._room = room

    def take(self, graph: Any, captured: dict[str, Any]) -> None:
        """Replace the nodes of `graph` that `captured` names, and large constants, by placeholders.

        Args:
            graph: a `GraphDef`, changed in place.
            captured: variables and tensors by the names of their nodes.
        """
        for node in graph.node:
            if node.name in captured:
                self.hold(node, np.asarray(tf.convert_to_tensor(captured[node.name])))
            elif node.op == "Const" and len(node.attr["value"].tensor.tensor_content) >= LARGE:
                self.hold(node, tf.make_ndarray(node.attr["value"].tensor))

    def hold(self, node: Any, value: npt.NDArray[Any]) -> None:
        """Write `value` to the file and let `node` stand for it."""
        dtype = tf.as_dtype(value.dtype)
        tensor = TensorProto(dims=value.shape, data_type=tf2onnx.tf_utils.map_tf_dtype(dtype))
        data = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        self._room.refer(tensor, data)
        # No reader looks at this. tf2onnx compares constants whose raw data have the same hash.
        tensor.raw_data = zlib.crc32(data.data).to_bytes(4, "little")
        self.tensors[node.name] = tensor
        become(node, "Placeholder")
        node.attr["dtype"].type = dtype.as_datatype_enum
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())

    def value(self, name: str) -> npt.NDArray[Any]:
        """Read the weight for which the placeholder `name` stands."""
        return numpy_helper.to_array(self.tensors[name])


def become(node: Any, op: str) -> None:
    """Make `node` an operation without inputs and attributes; its name stays."""
    name = node.name
    node.Clear()
    node.name, node.op = name, op


def is_large(value: Any) -> bool:
    """Return whether a variable or tensor is to be kept in the file."""
    plain = value.dtype.is_floating or value.dtype.is_integer or value.dtype.is_bool
    return bool(plain and (value.shape.num_elements() or 0) * value.dtype.size >= LARGE)


def node_name(tensor: str) -> str:
    """Return the node of a `GraphDef`'s input `tensor`."""
    return tensor.removeprefix("^").split(":", 1)[0]
