"""`tf.where` becomes ONNX's `Where`.

tf2onnx writes c x + (1 - c) y, since an old onnxruntime was faster at it: six nodes in place of one, and 0
times the NaN or infinity of the side that was not chosen is NaN. Masks of attention and logarithms rely on
that side being left out.
"""

from __future__ import annotations

from typing import Any

from tf2onnx.handler import tf_op
from tf2onnx.onnx_opset import controlflow

_select = controlflow.Select.version_9
_MARK = "handles_nan"


@tf_op(["Select", "SelectV2"])
class Selection:
    """Every selection, as tf2onnx itself writes those in which it sees a NaN."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **arguments: Any) -> None:
        """Convert one node."""
        node.set_attr(_MARK, True)
        _select(ctx, node, **arguments)
        del node.attr[_MARK]
