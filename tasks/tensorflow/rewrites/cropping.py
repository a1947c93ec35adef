"""`tf.image.crop_and_resize`, the heart of Mask R-CNN, becomes gathers of the four neighbours of each point.

tf2onnx writes a loop over the boxes whose resizing has both scales and sizes, which is not valid ONNX.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import static_value

_HALF = 0.5


@rewrites("CropAndResize")
def crop_and_resize(site: Site) -> list[Any]:
    """Return the crops, each of the same size."""
    image, boxes, image_indices, size = site.inputs
    fixed_size = static_value(size)
    high, wide = tf.unstack(size, num=2) if fixed_size is None else map(int, fixed_size)
    low_y, low_x, high_y, high_x = tf.unstack(boxes, num=4, axis=1)
    sizes = tf.shape(image)
    rows = _points(low_y, high_y, sizes[1], high)[:, :, None]
    columns = _points(low_x, high_x, sizes[2], wide)[:, None, :]
    last_row, last_column = (tf.cast(sizes[axis] - 1, tf.float32) for axis in (1, 2))
    top, left = tf.floor(rows), tf.floor(columns)
    image = tf.cast(image, tf.float32)

    def pixels(row: Any, column: Any) -> Any:
        row = tf.cast(tf.clip_by_value(row, 0.0, last_row), tf.int32) + tf.zeros_like(column, tf.int32)
        column = tf.cast(tf.clip_by_value(column, 0.0, last_column), tf.int32) + tf.zeros_like(row)
        image_index = image_indices[:, None, None] + tf.zeros_like(row)
        return tf.gather_nd(image, tf.stack([image_index, row, column], axis=-1))

    def line(row: Any) -> Any:
        first, second = pixels(row, left), pixels(row, tf.math.ceil(columns))
        return first + (second - first) * (columns - left)[..., None]

    if site.attr("method") == b"nearest":
        crops = pixels(_rounded_half_up(rows), _rounded_half_up(columns))
    else:
        above, below = line(top), line(tf.math.ceil(rows))
        crops = above + (below - above) * (rows - top)[..., None]
    inside = (rows >= 0) & (rows <= last_row) & (columns >= 0) & (columns <= last_column)
    return [tf.where(inside[..., None], crops, site.attr("extrapolation_value"))]


def _rounded_half_up(points: Any) -> Any:
    below = tf.floor(points)
    return below + tf.cast(points - below >= _HALF, tf.float32)


def _points(low: Any, high: Any, size: Any, count: Any) -> Any:
    """Return the positions of `count` lines from `low` to `high` (fractions of `size`), a row per box."""
    last = tf.cast(size - 1, tf.float32)
    middle = (low + high)[:, None] * last / 2
    if isinstance(count, int) and count == 1:
        return middle
    step = (high - low) * last / tf.cast(tf.maximum(count - 1, 1), tf.float32)
    lines = low[:, None] * last + tf.cast(tf.range(count), tf.float32) * step[:, None]
    return lines if isinstance(count, int) else tf.where(tf.equal(count, 1), middle, lines)
