"""`tf.where` becomes ONNX's `Where`.

tf2onnx writes c x + (1 - c) y, because an old onnxruntime was faster at it. That is six nodes instead of
one, and 0 times the NaN or infinity of the side that was not chosen is NaN. Attention masks and logarithms
rely on that side being ignored. tf2onnx also assumes one shape for both sides, while TensorFlow broadcasts.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf
import tf2onnx.shape_inference
from tf2onnx.handler import tf_op
from tf2onnx.onnx_opset import controlflow

_select = controlflow.Select.version_9
_MARK = "handles_nan"
_infer_shapes = tf2onnx.shape_inference.infer_output_shapes_with_partial_inputs


def _infer_shapes_of_selections(op: Any) -> bool:
    """Set the shape of a result that TensorFlow left open; return whether it is known now."""
    if op.type != "SelectV2":
        return bool(_infer_shapes(op))
    if any(tensor.shape.rank is None for tensor in op.inputs):
        return False
    op.outputs[0].set_shape(
        functools.reduce(tf.broadcast_static_shape, [tensor.shape for tensor in op.inputs])
    )
    return True


tf2onnx.shape_inference.infer_output_shapes_with_partial_inputs = _infer_shapes_of_selections


@tf_op(["Select", "SelectV2"])
class Selection:
    """Every selection, as tf2onnx writes those in which it sees a NaN."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **arguments: Any) -> None:
        """Convert one node."""
        node.set_attr(_MARK, True)
        _select(ctx, node, **arguments)
        del node.attr[_MARK]
