"""Nearest-neighbour resizing as TensorRT reads it.

tf2onnx writes TensorFlow's half-pixel rule as `tf_half_pixel_for_nn` and rounds down, and TensorRT refuses
that pair. Sampling at half pixels and rounding halves up chooses the same line: floor((i + 0.5) s) in both.
If the sizes are known and the ratio is not a whole number, the rule can meet a half that only one side rounds
up; then TensorFlow's own lines are gathered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import static_value

_MODE, _ROUNDING = "coordinate_transformation_mode", "nearest_mode"


@rewrites("ResizeNearestNeighbor")
def gathered(site: Site) -> list[Any] | None:
    """Return the lines that TensorFlow chooses, if the sizes are known and not multiples."""
    image, size = site.inputs[0], static_value(site.inputs[1])
    if size is None or image.shape[1] is None or image.shape[2] is None:
        return None
    old_sizes = [int(image.shape[1]), int(image.shape[2])]
    if all(int(new) % old == 0 for new, old in zip(size, old_sizes, strict=True)):
        return None
    rows = np.arange(old_sizes[0], dtype=np.float32).reshape(1, old_sizes[0], 1, 1)
    columns = np.arange(old_sizes[1], dtype=np.float32).reshape(1, 1, old_sizes[1], 1)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        chosen = [
            session.run(
                tf.raw_ops.ResizeNearestNeighbor(
                    images=lines,
                    size=new,
                    align_corners=site.attr("align_corners"),
                    half_pixel_centers=site.attr("half_pixel_centers"),
                )
            ).reshape(-1)
            for lines, new in ((rows, [size[0], 1]), (columns, [1, size[1]]))
        ]
    for axis, lines in enumerate(chosen, start=1):
        image = tf.gather(image, lines.astype(np.int32), axis=axis)
    return [image]


def round_as_tensorrt(nodes: Iterable[Any]) -> None:
    """Change the rounding of ONNX `nodes` that resize as TensorFlow does, in place."""
    for node in nodes:
        attributes = (
            {attribute.name: attribute for attribute in node.attribute} if node.op_type == "Resize" else {}
        )
        if _MODE in attributes and attributes[_MODE].s == b"tf_half_pixel_for_nn":
            attributes[_MODE].s = b"half_pixel"
            attributes[_ROUNDING].s = b"round_prefer_ceil"
