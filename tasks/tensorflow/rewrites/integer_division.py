"""Integer division and remainder, rounded down as in TensorFlow: a positive divisor leaves no negative rest.

ONNX divides towards zero, and tf2onnx writes `//` and `%` with that division: -5 % 1000003 became -5 instead
of 999998, `(16 - h) // 2` was one too large for odd h above 16, and `-(-length // step)`, the count of frames
in `tf.signal.frame(pad_end=True)`, one too small. tf2onnx has no form of `TruncateMod`.

TensorRT computes sizes with few operations, and a selection is not among them. So numbers that follow
from sizes are divided in two parts: the part above 0, minus the part below.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import follows_from_shapes, never_negative, static_value


@rewrites("FloorDiv")
def floor_div(site: Site) -> list[Any] | None:
    """Return the quotient rounded down."""
    return [rounded_down(*site.inputs)] if _is_signed(site) else None


@rewrites("FloorMod")
def floor_mod(site: Site) -> list[Any] | None:
    """Return the remainder with the sign of the divisor."""
    number, divisor = site.inputs
    return [number - rounded_down(number, divisor) * divisor] if _is_signed(site) else None


@rewrites("TruncateMod", "Mod")
def truncate_mod(site: Site) -> list[Any] | None:
    """Return the remainder with the sign of the number."""
    number, divisor = site.inputs
    return [number - tf.truncatediv(number, divisor) * divisor] if number.dtype.is_integer else None


def _is_signed(site: Site) -> bool:
    dtype = site.inputs[0].dtype
    return bool(dtype.is_integer and not dtype.is_unsigned)


def rounded_down(number: Any, divisor: Any) -> Any:
    """Return the quotient of two integers, rounded down."""
    value = static_value(divisor)
    positive = never_negative(divisor) if value is None else bool((value > 0).all())
    if positive and never_negative(number):
        return tf.truncatediv(number, divisor)
    if positive and follows_from_shapes(number):
        zero = tf.zeros((), number.dtype)
        above, below = tf.maximum(number, zero), tf.maximum(zero - number, zero)
        return tf.truncatediv(above, divisor) - tf.truncatediv(below + (divisor - 1), divisor)
    towards_zero = tf.truncatediv(number, divisor)
    rest = number - towards_zero * divisor
    round_down = tf.logical_and(tf.not_equal(rest, 0), tf.not_equal(rest < 0, divisor < 0))
    return towards_zero - tf.cast(round_down, number.dtype)
