"""Counts by index become comparisons with every index.

tf2onnx writes them with `Unique` and scattered sums, and TensorRT has neither. CategoryEncoding and
Discretization need them. All these rewrites need the number of indices at conversion.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.plain_forms import choose
from tasks.tensorflow.rewrites.rules import Site, refuse, rewrites
from tasks.tensorflow.rewrites.values import follows_from_shapes, static_value


@rewrites("DenseBincount", "Bincount")
def bincount(site: Site) -> list[Any]:
    """Return how often each index occurs in each row, or the sum of its weights."""
    indices, size, weights = site.inputs
    binary = site.op.type == "DenseBincount" and site.attr("binary_output")
    count = _known_size(size)
    if count is None or not indices.shape.rank:
        refuse(site)  # tf2onnx counts all rows together
    dtype = site.op.outputs[0].dtype
    hits = _hits(indices, int(count), dtype)
    if weights.shape.num_elements() != 0:
        hits = tf.where(tf.cast(hits, tf.bool), weights[..., None], tf.zeros((), dtype))
    axes = [0] if site.op.outputs[0].shape.rank == 1 else [1]
    if site.op.outputs[0].shape.rank == 1 and indices.shape.rank > 1:
        hits = tf.reshape(hits, [-1, int(count)])
    return [tf.reduce_max(hits, axes) if binary else tf.reduce_sum(hits, axes)]


@rewrites("Bucketize")
def bucketize(site: Site) -> list[Any]:
    """Return how many boundaries are not above each value."""
    (x,) = site.inputs
    boundaries = tf.constant(site.attr("boundaries"), tf.float32)
    return [tf.reduce_sum(tf.cast(tf.cast(x, tf.float32)[..., None] >= boundaries, tf.int32), -1)]


@rewrites("HistogramFixedWidth")
def histogram(site: Site) -> list[Any] | None:
    """Return how many values lie in each of the equal parts of a range; those outside count at its ends."""
    values, ends, number = site.inputs
    count = static_value(number)
    if count is None:
        return None
    width = (ends[1] - ends[0]) / tf.cast(int(count), values.dtype)
    steps = tf.minimum((tf.maximum(values, ends[0]) - ends[0]) / width, float(count) - 1)
    hits = _hits(tf.reshape(steps, [-1]), int(count), site.op.outputs[0].dtype)
    return [tf.reduce_sum(hits, 0)]


@rewrites("LowerBound", "UpperBound")
def bound(site: Site) -> list[Any]:
    """Return how many of the row's sorted numbers are below (or not above) each value."""
    ordered, values = (tensor[:, None, :] if index == 0 else tensor[:, :, None]
                       for index, tensor in enumerate(site.inputs))  # fmt: skip
    before = ordered < values if site.op.type == "LowerBound" else ordered <= values
    return [tf.reduce_sum(tf.cast(before, site.attr("out_type")), -1)]


@rewrites("OneHot")
def one_hot(site: Site) -> list[Any] | None:
    """Return one-hot rows; an index below 0 sets nothing, while ONNX counts it from the end."""
    indices, depth, on, off = site.inputs
    count = static_value(depth)
    if indices.shape.rank is None or (count is None and not follows_from_shapes(depth)):
        return None
    count = depth if count is None else int(count)  # TensorRT-RTX has no OneHot of a computed depth
    axis = site.attr("axis") % (indices.shape.rank + 1)
    classes = tf.reshape(tf.range(count), [1] * axis + [-1] + [1] * (indices.shape.rank - axis))
    return [choose(tf.equal(tf.expand_dims(_narrowed(indices, count), axis), classes), on, off)]


def _narrowed(indices: Any, count: Any) -> Any:
    """Return `indices` as INT32; those that no class below `count` has stay without a class."""
    if indices.dtype.size > tf.int32.size:
        low, high = (tf.cast(end, indices.dtype) for end in (-1, count))
        indices = tf.minimum(tf.maximum(indices, low), high)
    return tf.cast(indices, tf.int32)


def _known_size(size: Any) -> int | None:
    """Return the value of `size`, which tf.math.bincount computes from the data, as min(n, max(n, ...))."""
    value = static_value(size)
    if value is None and size.op.type == "Minimum":
        for most, rest in (size.op.inputs, reversed(size.op.inputs)):
            bounds = [static_value(tensor) for tensor in rest.op.inputs] if rest.op.type == "Maximum" else []
            limit = static_value(most)
            if limit is not None and any(least is not None and least >= limit for least in bounds):
                value = limit
    return None if value is None else int(value)


def _hits(indices: Any, count: int, dtype: Any) -> Any:
    return tf.cast(tf.equal(_narrowed(indices, count)[..., None], tf.range(count)), dtype)
