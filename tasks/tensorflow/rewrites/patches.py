"""`tf.image.extract_patches`, as vision transformers cut images up, becomes reshapes or gathers.

tf2onnx converts it only with padding VALID and rate 1, and raises TypeError otherwise. It makes a convolution
whose kernel is the identity: that rounds to the precision of the engine, and infinity times 0 is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites

# TensorRT moves no elements of these types; float32 holds their values.
_NARROW = (tf.uint8, tf.int8, tf.uint16, tf.int16)
_HEIGHT, _WIDTH = 1, 2
_BY_PATCH = (0, 1, 3, 2, 4, 5)
"""From [image, patch row, row, patch column, column, channel]."""


@rewrites("ExtractImagePatches")
def extract_patches(site: Site) -> list[Any] | None:
    """Return the patches, each with its pixels in the channels."""
    (image,) = site.inputs
    channels = image.shape[-1]
    if channels is None:
        return None
    kind = image.dtype
    pixels = tf.cast(image, tf.float32) if kind in _NARROW else image
    size = site.attr("ksizes")[_HEIGHT : _WIDTH + 1]
    cut = _without_overlap(pixels, site) if _fits(image, site) else _gathered(pixels, site)
    shape = tf.shape(cut)
    depth = tf.constant([size[0] * size[1] * channels])
    patches = tf.reshape(tf.transpose(cut, _BY_PATCH), tf.concat([shape[:2], shape[3:4], depth], 0))
    return [tf.cast(patches, kind)]


def _fits(image: Any, site: Site) -> bool:
    """Return whether the patches lie side by side and cover the image."""
    sizes, steps, rates = (site.attr(name)[_HEIGHT : _WIDTH + 1] for name in ("ksizes", "strides", "rates"))
    lengths = image.shape[_HEIGHT : _WIDTH + 1]
    whole = all(length and length % size == 0 for length, size in zip(lengths, sizes, strict=True))
    return whole and list(sizes) == list(steps) and list(rates) == [1, 1]


def _without_overlap(image: Any, site: Site) -> Any:
    _, high, wide, _ = site.attr("ksizes")
    height, width, channels = image.shape[_HEIGHT], image.shape[_WIDTH], image.shape[-1]
    count = tf.shape(image)[:1]
    return tf.reshape(image, tf.concat([count, [height // high, high, width // wide, wide, channels]], 0))


def _gathered(image: Any, site: Site) -> Any:
    """Gather the rows of the patches, then their columns: behind the rows, which are two dimensions now."""
    return _along(_along(image, site, _HEIGHT, at=_HEIGHT), site, _WIDTH, at=_WIDTH + 1)


def _along(tensor: Any, site: Site, dimension: int, *, at: int) -> Any:
    """Return `tensor` with its dimension `at` as [patch, pixel of the patch]; zeros are around the image."""
    size, step, rate = (site.attr(name)[dimension] for name in ("ksizes", "strides", "rates"))
    length = tensor.shape[at] if tensor.shape[at] is not None else tf.shape(tensor)[at]
    reach = (size - 1) * rate + 1
    same = site.attr("padding") in {"SAME", b"SAME"}
    count = (length + step - 1) // step if same else (length - reach + step) // step
    missing = (count - 1) * step + reach - length if same else 0
    before = tf.maximum(missing, 0) // 2 if tf.is_tensor(missing) else max(missing, 0) // 2
    arange = tf.range if tf.is_tensor(count) else np.arange
    places = arange(count)[:, None] * step + np.arange(size, dtype=np.int32)[None, :] * rate - before
    if not same:
        return tf.gather(tensor, places, axis=at)
    inside = tf.logical_and(places >= 0, places < length)
    values = tf.gather(tensor, tf.clip_by_value(places, 0, length - 1), axis=at)
    ones = [1] * (len(tensor.shape) - at - 1)
    return tf.where(tf.reshape(inside, [-1, size, *ones]), values, tf.zeros([], tensor.dtype))
