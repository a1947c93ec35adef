"""What is known of a tensor before the model runs: its value, if necessary by running shape arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.certain import certain_value

_MOST_NODES = 200
_KEEP_SIGNS = {
    **dict.fromkeys(
        ("Add", "AddV2", "AddN", "Mul", "FloorDiv", "TruncateDiv", "FloorMod", "Minimum", "Pack"), slice(None)
    ),
    **dict.fromkeys(
        ("Sum", "Prod", "Max", "Min", "Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "StridedSlice",
         "Slice", "GatherV2", "Tile", "ReverseV2", "Square", "Cumsum", "Cumprod"), slice(1)
    ),
    "ConcatV2": slice(-1),
}  # fmt: skip
"""Operations whose results are not negative if some of their inputs are not, and which inputs these are."""


def static_value(tensor: Any) -> Any:
    """Return the value of `tensor` as a NumPy array; None if it is unknown.

    A value computed from shapes is known if it is the same for all sizes of the unknown dimensions. Large
    constants are not in the graph while it is rewritten, so they are unknown, too.
    """
    try:
        value = tf.get_static_value(tensor)
    except ValueError:  # the constant's bytes were removed
        return None
    if value is not None:
        return value
    return certain_value(tensor) if follows_from_shapes(tensor) else None


def run_for_sizes(tensors: list[Any], sizes: Any) -> Iterator[list[Any]]:
    """Yield the values of `tensors` with every unknown dimension set to each of `sizes`.

    Yields nothing if `tensors` follow from anything but constants and shapes.
    """
    shapes = _shapes_read(tensors)
    if shapes is None or any(shape.op.inputs[0].shape.rank is None for shape in shapes):
        return
    with tf.compat.v1.Session(graph=tensors[0].graph) as session:
        for size in sizes:
            dims = {  # tensors of a function have no hash
                shape.name: [dim or size for dim in shape.op.inputs[0].shape.as_list()] for shape in shapes
            }
            yield session.run(tensors, {name: np.array(value) for name, value in dims.items()})


def follows_from_shapes(tensor: Any) -> bool:
    """Return whether `tensor` is computed from constants and shapes alone."""
    return _shapes_read([tensor]) is not None


def never_negative(tensor: Any) -> bool:
    """Return whether all elements of the integers `tensor` are certainly 0 or more: sizes and their sums."""
    pending, seen = [tensor], set[str]()
    while pending:
        tensor = pending.pop()
        kind = tensor.op.type
        if kind in ("Shape", "ShapeN", "Size", "Rank") or tensor.dtype.is_unsigned or tensor.dtype.is_bool:
            continue
        if kind == "Const":
            value = tf.get_static_value(tensor)
            if value is None or (value < 0).any():
                return False
        elif kind == "Maximum":
            if not any(never_negative(side) for side in tensor.op.inputs):
                return False
        elif kind not in _KEEP_SIGNS or len(seen) > _MOST_NODES:
            return False
        elif tensor.op.name not in seen:
            seen.add(tensor.op.name)
            pending += list(tensor.op.inputs)[_KEEP_SIGNS[kind]]
    return True


def _shapes_read(tensors: list[Any]) -> list[Any] | None:
    """Return the shapes from which `tensors` are computed; None if they follow from anything else."""
    pending, seen, shapes = list(tensors), set[str](), dict[str, Any]()
    while pending:
        tensor = pending.pop()
        if tensor.op.type == "Shape":
            shapes[tensor.name] = tensor
        elif not tensor.op.inputs and tensor.op.type != "Const":
            return None
        elif tensor.op.name not in seen:
            seen.add(tensor.op.name)
            pending += tensor.op.inputs
        if len(seen) > _MOST_NODES:
            return None
    return list(shapes.values())
