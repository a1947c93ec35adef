"""`tf.image.crop_and_resize`, the heart of Mask R-CNN, becomes gathers of the four neighbours of each point.

tf2onnx writes a loop over the boxes whose resizing has both scales and sizes, which is not valid ONNX.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import static_value


@rewrites("CropAndResize")
def crop_and_resize(site: Site) -> list[Any] | None:
    """Return the crops, each of the same fixed size."""
    image, boxes, owners, size = site.inputs
    wanted = static_value(size)
    if wanted is None or site.attr("method") != b"bilinear":
        return None
    low_y, low_x, high_y, high_x = tf.unstack(boxes, num=4, axis=1)
    sizes = tf.shape(image)
    rows = _points(low_y, high_y, sizes[1], int(wanted[0]))[:, :, None]
    columns = _points(low_x, high_x, sizes[2], int(wanted[1]))[:, None, :]
    last_row, last_column = (tf.cast(sizes[axis] - 1, tf.float32) for axis in (1, 2))
    top, left = tf.floor(rows), tf.floor(columns)
    image = tf.cast(image, tf.float32)

    def pixels(row: Any, column: Any) -> Any:
        row = tf.cast(tf.clip_by_value(row, 0.0, last_row), tf.int32) + tf.zeros_like(column, tf.int32)
        column = tf.cast(tf.clip_by_value(column, 0.0, last_column), tf.int32) + tf.zeros_like(row)
        owner = owners[:, None, None] + tf.zeros_like(row)
        return tf.gather_nd(image, tf.stack([owner, row, column], axis=-1))

    def line(row: Any) -> Any:
        first, second = pixels(row, left), pixels(row, tf.math.ceil(columns))
        return first + (second - first) * (columns - left)[..., None]

    above, below = line(top), line(tf.math.ceil(rows))
    crops = above + (below - above) * (rows - top)[..., None]
    inside = (rows >= 0) & (rows <= last_row) & (columns >= 0) & (columns <= last_column)
    return [tf.where(inside[..., None], crops, site.attr("extrapolation_value"))]


def _points(low: Any, high: Any, size: Any, count: int) -> Any:
    """Return where `count` lines between `low` and `high` (parts of `size`) lie, one row per box."""
    last = tf.cast(size - 1, tf.float32)
    if count == 1:
        return (low + high)[:, None] * last / 2
    step = (high - low) * last / (count - 1)
    return low[:, None] * last + tf.range(count, dtype=tf.float32) * step[:, None]
