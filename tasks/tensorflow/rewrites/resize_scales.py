"""Resizing to a fixed size keeps: ONNX rounds `size * scale` down, and 12 * (7/12 in FP32) is 6.99999976."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

_SCALES = 2  # the index of a Resize's input
_ROUNDING = 2.0**-22


def exact_scales(graph: onnx.GraphProto, shape_of: Callable[[str], Sequence[int] | None]) -> None:
    """Raise the constant scales of each Resize until they reach the intended size, in place.

    Args:
        graph: of tf2onnx.
        shape_of: the shape of a tensor of its main graph by name, negative if unknown.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "Resize" or len(node.input) <= _SCALES or node.input[_SCALES] not in weights:
            continue
        have, scales = shape_of(node.input[0]), numpy_helper.to_array(weights[node.input[_SCALES]])
        if have is None or len(have) != scales.size:
            continue
        raised = np.array([_raised(*both) for both in zip(scales, have, strict=True)], np.float32)
        if not np.array_equal(raised, scales):
            name = f"{node.name}/exact_scales"
            graph.initializer.append(numpy_helper.from_array(raised, name))
            node.input[_SCALES] = name


def _raised(scale: np.float32, have: int) -> np.float32:
    wanted = round(float(scale) * have)
    meant = have > 0 and abs(float(scale) * have - wanted) < _ROUNDING * wanted
    while meant and float(scale) * have < wanted:
        scale = np.nextafter(scale, np.float32(np.inf))
    return scale
