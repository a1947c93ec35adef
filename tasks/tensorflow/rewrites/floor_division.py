"""Division of integers that rounds down: ONNX rounds towards zero, and tf2onnx does not say so.

`-(-length // step)`, the count of frames in `tf.signal.frame(pad_end=True)`, was one too small.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import follows_from_shapes, static_value


@rewrites("FloorDiv")
def floor_div(site: Site) -> list[Any] | None:
    """Return the quotient rounded down; sizes, which are not negative, are divided as they are."""
    number, divisor = site.inputs
    if not number.dtype.is_integer or number.dtype.is_unsigned:
        return None
    known = static_value(divisor)
    if follows_from_shapes(number) and known is not None and (known > 0).all():
        if number.op.type != "Neg":
            return None
        size = number.op.inputs[0]
        return [-tf.truncatediv(size + (divisor - 1), divisor)]
    towards_zero = tf.truncatediv(number, divisor)
    rest = number - towards_zero * divisor
    above = tf.logical_and(tf.not_equal(rest, 0), tf.not_equal(rest < 0, divisor < 0))
    return [towards_zero - tf.cast(above, number.dtype)]
