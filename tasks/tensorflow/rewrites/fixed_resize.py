"""Resizing between fixed sizes by area, bicubic, Lanczos and the like becomes two products with constants.

ONNX has no antialiasing before opset 18, no Lanczos and no area, and tf2onnx writes bicubic and area as other
filters than TensorFlow's (0.0006 and 1.8 off). All of them weight rows and then columns, so each is
`rows @ image @ columns`. TensorFlow itself provides the weights: they are its result for the identity matrix.
Bilinear and nearest without antialiasing stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, refuse, rewrites
from tasks.tensorflow.rewrites.values import static_value

_Weights = npt.NDArray[np.float32]
_Resize = Callable[[Any, int], Any]


@rewrites("ResizeArea", "ResizeBicubic")
def by_size(site: Site) -> list[Any] | None:
    """Return the resized images if both sizes are known."""
    size = static_value(site.inputs[1])
    run = getattr(tf.raw_ops, site.op.type)
    attributes = {"align_corners": site.attr("align_corners")}
    if site.op.type == "ResizeBicubic":
        attributes["half_pixel_centers"] = site.attr("half_pixel_centers")
    if size is None:
        return _weighted(site, None, lambda _: run)

    def along(axis: int) -> _Resize:
        del axis
        return lambda image, length: run(images=image, size=[length, 1], **attributes)

    return _weighted(site, size, along)


@rewrites("ScaleAndTranslate")
def by_scale(site: Site) -> list[Any] | None:
    """Return the scaled and moved images if sizes, scales and translations are known."""
    size, scale, translation = (static_value(tensor) for tensor in site.inputs[1:])
    if size is None or scale is None or translation is None:
        return None

    def along(axis: int) -> _Resize:
        return lambda image, length: tf.raw_ops.ScaleAndTranslate(
            images=image,
            size=[length, 1],
            scale=[scale[axis], 1.0],
            translation=[translation[axis], 0.0],
            kernel_type=site.attr("kernel_type"),
            antialias=site.attr("antialias"),
        )

    return _weighted(site, size, along)


def _weighted(site: Site, size: Any, along: Callable[[int], _Resize]) -> list[Any] | None:
    image = site.inputs[0]
    height, width = image.shape[1], image.shape[2]
    if size is None or height is None or width is None:
        return refuse(site) if site.op.type == "ResizeArea" else None
    rows = _weights(along(0), int(height), int(size[0]))
    columns = _weights(along(1), int(width), int(size[1]))
    channels_first = tf.transpose(tf.cast(image, tf.float32), [0, 3, 1, 2])
    resized = tf.matmul(tf.matmul(tf.constant(rows), channels_first), tf.constant(columns.T))
    return [tf.transpose(resized, [0, 2, 3, 1])]


def _weights(resize: _Resize, old: int, new: int) -> _Weights:
    """Return the weight of each of `old` lines in each of `new` lines, shape (new, old)."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        lines = tf.constant(np.eye(old, dtype=np.float32).reshape(1, old, 1, old))
        weights: _Weights = session.run(resize(lines, new)).reshape(new, old)
    return weights
