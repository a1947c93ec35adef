"""Resizes give their exact size: ONNX rounds `size * scale` down, and 12 * (7/12 in FP32) is 6.99999976."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

_SCALES = 2  # their index among the inputs of a Resize
_ROUNDING = 2.0**-22


def exact_scales(graph: onnx.GraphProto, shape_of: Callable[[str], Sequence[int] | None]) -> None:
    """Raise constant scales of each Resize until they reach the intended size, in place.

    Args:
        graph: as tf2onnx writes it.
        shape_of: returns the shape of a tensor of the main graph by name, with -1 for unknown dimensions.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "Resize" or len(node.input) <= _SCALES or node.input[_SCALES] not in weights:
            continue
        sizes, scales = shape_of(node.input[0]), numpy_helper.to_array(weights[node.input[_SCALES]])
        if sizes is None or len(sizes) != scales.size:
            continue
        raised = np.array([_raised(*both) for both in zip(scales, sizes, strict=True)], np.float32)
        if not np.array_equal(raised, scales):
            name = f"{node.name}/exact_scales"
            graph.initializer.append(numpy_helper.from_array(raised, name))
            node.input[_SCALES] = name


def _raised(scale: np.float32, size: int) -> np.float32:
    intended = round(float(scale) * size)
    is_exact_size = size > 0 and abs(float(scale) * size - intended) < _ROUNDING * intended
    while is_exact_size and float(scale) * size < intended:
        scale = np.nextafter(scale, np.float32(np.inf))
    return scale
