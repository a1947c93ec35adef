"""Angles of points in the plane. ONNX has only the arc tangent of a quotient.

tf2onnx writes a sum of signs. It is NaN where both coordinates are infinite, and a zero loses its sign, which
says on which side of the cut a point lies: `atan2(-0.0, -1.0)` is -pi.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites


@rewrites("Atan2")
def atan2(site: Site) -> list[Any]:
    """Return the angle of each point."""
    return [angle(*site.inputs)]


def angle(y: Any, x: Any) -> Any:
    """Return the angle of (x, y): that in the first quadrant, mirrored by the signs of the coordinates."""
    high, wide = tf.abs(y), tf.abs(x)
    on_diagonal = tf.cast(high > 0, y.dtype)  # also where both are infinite or zero
    steep = tf.atan(tf.where(tf.equal(high, wide), on_diagonal, high / wide))
    upper = tf.where(_is_minus(x), math.pi - steep, steep)
    return tf.where(_is_minus(y), -upper, upper)


def _is_minus(x: Any) -> Any:
    """Return whether the sign bit is set, which a comparison does not see in -0.0."""
    return tf.logical_or(x < 0, tf.math.reciprocal(x) < 0)
