"""Running products and log-sums along an axis of known size, by doubling: log2(n) steps without a loop.

tf2onnx writes `Cumprod` as a loop that TensorRT cannot build, and has no form of the running log-sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import static_value

_LONGEST = 1 << 16


@rewrites("Cumprod")
def cumprod(site: Site) -> list[Any] | None:
    """Return the running product."""
    return _running(site, tf.multiply, 1)


@rewrites("CumulativeLogsumexp")
def cumulative_logsumexp(site: Site) -> list[Any] | None:
    """Return the running log of the sum of exponentials; an exclusive sum starts at the smallest number."""

    def add(first: Any, second: Any) -> Any:
        high = tf.maximum(first, second)
        return high + tf.math.log(tf.exp(first - high) + tf.exp(second - high))

    return _running(site, add, site.inputs[0].dtype.min)


def _running(site: Site, combine: Callable[[Any, Any], Any], neutral: float) -> list[Any] | None:
    x, axis = site.inputs[0], static_value(site.inputs[1])
    if axis is None or x.shape.rank is None:
        return None
    axis = int(axis) % x.shape.rank
    size = x.shape[axis]
    if not size or size > _LONGEST:
        return None
    x = tf.reverse(x, [axis]) if site.attr("reverse") else x
    step = 1
    while step < size:
        x = combine(x, _shifted(x, axis, step, neutral))
        step *= 2
    if site.attr("exclusive"):
        x = _shifted(x, axis, 1, neutral)
    return [tf.reverse(x, [axis]) if site.attr("reverse") else x]


def _shifted(x: Any, axis: int, step: int, neutral: float) -> Any:
    pads = [[step if dim == axis else 0, 0] for dim in range(x.shape.rank)]
    kept = tuple(slice(0, -step) if dim == axis else slice(None) for dim in range(x.shape.rank))
    return tf.pad(x[kept], pads, constant_values=tf.cast(neutral, x.dtype))
