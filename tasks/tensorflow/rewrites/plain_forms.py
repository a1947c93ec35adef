"""Operations that ONNX lacks, each written in a line or two of operations that it has.

`PreventGradient` and `L2Loss` are left over from training, `InTopKV2` and `ApproxTopK` from metrics and
retrieval, `Cross` from geometry; TensorRT takes no pooling with a second output, even an unread output.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Pair, Site, rewrites
from tasks.tensorflow.rewrites.values import follows_from_shapes, static_value


@rewrites("PreventGradient", "PlaceholderWithDefault")
def input_itself(site: Site) -> list[Any]:
    """Return the input: an engine has no gradients, and what the signature does not feed has its default."""
    return [tf.identity(site.inputs[0])]


@rewrites("Softmax", "LogSoftmax")
def softmax_of_a_row(site: Site) -> list[Any] | None:
    """Return the softmax of a vector as that of a matrix: TensorRT has no softmax of rank 1."""
    (x,) = site.inputs
    if x.shape.rank != 1:
        return None
    softmax = tf.nn.softmax if site.op.type == "Softmax" else tf.nn.log_softmax
    return [softmax(x[None])[0]]


def choose(condition: Any, first: Any, second: Any) -> Any:
    """Return `tf.where`, between masks in logic."""
    if first.dtype == tf.bool:
        return (condition & first) | (~condition & second)
    return tf.where(condition, first, second)


@rewrites("SelectV2")
def choice_of_booleans(site: Site) -> list[Any] | None:
    """Return a choice between masks in logic: onnxruntime, which checks the graph, has no such `Where`."""
    condition, first, second = site.inputs
    if isinstance(first, Pair) or first.dtype != tf.bool:
        return None
    return [choose(condition, first, second)]


@rewrites("L2Loss")
def l2_loss(site: Site) -> list[Any]:
    """Return half the sum of squares."""
    return [tf.reduce_sum(tf.square(site.inputs[0])) / 2]


@rewrites("EuclideanNorm")
def euclidean_norm(site: Site) -> list[Any]:
    """Return the root of the sum of squares."""
    x, axes = site.inputs
    return [tf.sqrt(tf.reduce_sum(tf.square(x), axes, keepdims=site.attr("keep_dims")))]


@rewrites("AddN")
def sum_of_integers(site: Site) -> list[Any] | None:
    """Return the sum of integers: ONNX's `Sum` adds only floats."""
    if any(isinstance(value, Pair) or not value.dtype.is_integer for value in site.inputs):
        return None
    return [functools.reduce(tf.add, site.inputs)]


@rewrites("Cross")
def cross(site: Site) -> list[Any]:
    """Return the cross products of the last axis."""
    (a, b, c), (x, y, z) = (tf.unstack(side, num=3, axis=-1) for side in site.inputs)
    return [tf.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=-1)]


@rewrites("InTopK", "InTopKV2")
def in_top_k(site: Site) -> list[Any]:
    """Return whether fewer than k scores exceed the target's; False for no class or scores not finite."""
    scores, targets = site.inputs[:2]
    k = site.attr("k") if site.op.type == "InTopK" else site.inputs[2]
    places, last = tf.cast(targets, tf.int32), tf.shape(scores)[1] - 1
    target_scores = tf.gather(scores, tf.clip_by_value(places, 0, last), axis=1, batch_dims=1)
    above = tf.reduce_sum(tf.cast(scores > target_scores[:, None], tf.int32), axis=1)
    finite = tf.reduce_all(tf.abs(scores) < np.inf, 1)
    return [(above < tf.cast(k, tf.int32)) & (places >= 0) & (places <= last) & finite]


@rewrites("ApproxTopK")
def approx_top_k(site: Site) -> list[Any] | None:
    """Return the exact largest (or smallest), which TensorFlow computes on a CPU, too."""
    (x,) = site.inputs
    if x.shape.rank is None or site.attr("reduction_dimension") % x.shape.rank != x.shape.rank - 1:
        return None
    largest = site.attr("is_max_k")
    values, indices = tf.math.top_k(x if largest else -x, site.attr("k"))
    return [values if largest else -values, indices]


@rewrites("MaxPoolWithArgmax")
def max_pool(site: Site) -> list[Any] | None:
    """Return plain pooling if nothing reads the indices."""
    if site.op.outputs[1].consumers():
        return None
    pooled = tf.raw_ops.MaxPool(
        input=site.inputs[0],
        ksize=site.attr("ksize"),
        strides=site.attr("strides"),
        padding=site.attr("padding"),
    )
    return [pooled]


@rewrites("MirrorPad")
def symmetric_pad(site: Site) -> list[Any] | None:
    """Return symmetric padding by constants and sizes as slices: TensorRT lacks tf2onnx's `Compress`."""
    x, widths = site.inputs
    if site.attr("mode") != b"SYMMETRIC" or x.shape.rank is None or not follows_from_shapes(widths):
        return None
    for axis in range(x.shape.rank):
        low, high = (_number(widths[axis, side]) for side in range(2))
        parts = [_mirrored_start(x, axis, low), x, _mirrored_end(x, axis, high)]
        x = tf.concat([part for part in parts if part is not None], axis)
    return [tf.identity(x)]


def _number(tensor: Any) -> Any:
    value = static_value(tensor)
    return tensor if value is None else int(value)


def _mirrored_start(x: Any, axis: int, width: Any) -> Any:
    """Return the first `width` lines of `axis` in reverse order; None if there are none."""
    return None if _is_zero(width) else _reversed(x, axis, slice(0, width))


def _mirrored_end(x: Any, axis: int, width: Any) -> Any:
    """Return the last `width` lines of `axis` in reverse order; None if there are none."""
    first = -width if isinstance(width, int) else tf.shape(x)[axis] - width
    return None if _is_zero(width) else _reversed(x, axis, slice(first, None))


def _is_zero(width: Any) -> bool:
    return isinstance(width, int) and not width


def _reversed(x: Any, axis: int, cut: slice) -> Any:
    return tf.reverse(x[(slice(None),) * axis + (cut,)], [axis])
