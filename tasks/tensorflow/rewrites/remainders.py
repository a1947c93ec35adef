"""Remainders of floats, which stay between 0 and the divisor.

`x - floor(x / y) * y`, as tf2onnx writes it, is far outside of that where the quotient overflows, underflows
or exceeds what a float can count: -3e38 % 1e-8 was -inf, 1e-30 % -3e38 was 1e-30.

From 2^24 on, a quotient says nothing about the remainder: consecutive floats are then further apart than the
divisor is long, so the last bit of the number decides which remainder TensorFlow computes. A multiple of the
divisor is as close to the number as the number is to its own rounding, so the remainder is 0 here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import static_value

_UNCOUNTED = {tf.float16: 2.0**11, tf.bfloat16: 2.0**8, tf.float32: 2.0**24, tf.float64: 2.0**53}
_HIGH_BITS = 0xFFFFF000
"""Half of the bits of FP32's fraction: such a number times a count below 2^12 is exact."""


@rewrites("FloorMod")
def floor_mod(site: Site) -> list[Any] | None:
    """Return the remainder with the sign of the divisor."""
    number, divisor = site.inputs
    if not number.dtype.is_floating:
        return None
    rest = _remainder(number, divisor)
    other_sign = tf.not_equal(rest < 0, divisor < 0) & tf.not_equal(rest, 0)
    return [tf.where(other_sign, rest + divisor, rest)]


@rewrites("TruncateMod", "Mod")
def truncate_mod(site: Site) -> list[Any] | None:
    """Return the remainder with the sign of the number."""
    return [_remainder(*site.inputs)] if site.inputs[0].dtype.is_floating else None


def _remainder(number: Any, divisor: Any) -> Any:
    size, step = tf.abs(number), tf.abs(divisor)
    quotient = size / step
    rest = size
    for part in _parts(step, static_value(divisor)):
        rest -= tf.floor(quotient) * part
    rest = tf.where(rest < 0, rest + step, rest)  # the quotient was rounded up to the next integer
    uncounted = (quotient >= _UNCOUNTED[number.dtype]) & (size < np.inf) & (step > 0)
    rest = tf.where(uncounted, tf.zeros((), number.dtype), rest)
    return tf.where(quotient < 1, number, tf.where(number < 0, -rest, rest))


def _parts(step: Any, divisor: Any) -> list[Any]:
    """Return parts that sum to `step`, the size of `divisor`.

    If that is a constant, the first is a short float, whose multiples are exact.
    """
    if divisor is None or divisor.dtype != np.float32 or not np.isfinite(divisor).all():
        return [step]
    size = np.abs(divisor)
    short = (size.view(np.uint32) & np.uint32(_HIGH_BITS)).view(np.float32)
    return [tf.constant(part) for part in (short, size - short) if part.any()]
