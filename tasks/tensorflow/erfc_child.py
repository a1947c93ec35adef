"""Child: teaches tf2onnx `Erfc`, which exact GELU needs: erfc(x) = 1 - erf(x)."""

from __future__ import annotations

from typing import Any

import numpy as np
from tf2onnx.handler import tf_op


@tf_op("Erfc")
class Erfc:
    """The complementary error function, through ONNX's `Erf`."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Rewrite one node; `Erf` is there from opset 9 on."""
        shape, dtype = ctx.get_shape(node.output[0]), ctx.get_dtype(node.output[0])
        erf = ctx.make_node("Erf", [node.input[0]], shapes=[shape], dtypes=[dtype])
        numpy_type = _numpy_type(dtype)
        one = ctx.make_const(f"{node.name}_one", np.array(1, numpy_type))
        ctx.remove_node(node.name)
        ctx.make_node(
            "Sub",
            [one.output[0], erf.output[0]],
            name=node.name,
            outputs=node.output,
            shapes=[shape],
            dtypes=[dtype],
        )


def _numpy_type(dtype: int) -> Any:
    from tf2onnx.utils import map_onnx_to_numpy_type  # noqa: PLC0415

    return map_onnx_to_numpy_type(dtype)
