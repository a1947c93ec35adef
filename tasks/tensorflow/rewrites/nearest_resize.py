"""Nearest-neighbour resizing as TensorRT reads it.

tf2onnx writes TensorFlow's half-pixel rule as `tf_half_pixel_for_nn` and rounds down, and TensorRT refuses
that pair. Sampling at half pixels and rounding halves up is the same line: floor((i + 0.5) s) in both. Where
the sizes are known and the ratio is no whole number, the rule can meet a half that one side rounds and the
other does not; there TensorFlow's own lines are gathered.
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
    """Return the lines that TensorFlow takes, if the sizes are known and are no multiples."""
    image, size = site.inputs[0], static_value(site.inputs[1])
    if size is None or image.shape[1] is None or image.shape[2] is None:
        return None
    have = [int(image.shape[1]), int(image.shape[2])]
    if all(int(wanted) % old == 0 for wanted, old in zip(size, have, strict=True)):
        return None
    rows = np.arange(have[0], dtype=np.float32).reshape(1, have[0], 1, 1)
    columns = np.arange(have[1], dtype=np.float32).reshape(1, 1, have[1], 1)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        taken = [
            session.run(
                tf.raw_ops.ResizeNearestNeighbor(
                    images=lines,
                    size=wanted,
                    align_corners=site.attr("align_corners"),
                    half_pixel_centers=site.attr("half_pixel_centers"),
                )
            ).reshape(-1)
            for lines, wanted in ((rows, [size[0], 1]), (columns, [1, size[1]]))
        ]
    for axis, lines in enumerate(taken, start=1):
        image = tf.gather(image, lines.astype(np.int32), axis=axis)
    return [image]


def round_as_tensorrt(nodes: Iterable[Any]) -> None:
    """Change the rounding of ONNX `nodes` that resize as TensorFlow does, in place."""
    for node in nodes:
        texts = (
            {attribute.name: attribute for attribute in node.attribute} if node.op_type == "Resize" else {}
        )
        if _MODE in texts and texts[_MODE].s == b"tf_half_pixel_for_nn":
            texts[_MODE].s = b"half_pixel"
            texts[_ROUNDING].s = b"round_prefer_ceil"
