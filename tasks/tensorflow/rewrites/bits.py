"""Bits of integers become arithmetic: TensorRT has neither shifts nor bitwise operations.

A left shift multiplies by a power of two, a right shift divides by it and rounds down, and a mask of low bits
keeps a remainder. TensorFlow's signed integers are in two's complement, so this holds for negative numbers,
too. `a | b` is a + b - (a & b).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.integer_division import rounded_down
from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import static_value

_HALF = 31


@rewrites("LeftShift")
def left_shift(site: Site) -> list[Any]:
    """Return the numbers times powers of two."""
    number, count = _signed(site)
    return [tf.cast(number * _power_of_two(count), site.inputs[0].dtype)]


@rewrites("RightShift")
def right_shift(site: Site) -> list[Any]:
    """Return the numbers divided by powers of two, in two steps: no signed type holds the largest power."""
    number, count = _signed(site)
    half = count // 2
    half_shifted = rounded_down(number, _power_of_two(half))
    return [tf.cast(rounded_down(half_shifted, _power_of_two(count - half)), site.inputs[0].dtype)]


@rewrites("BitwiseAnd", "BitwiseOr", "BitwiseXor")
def bitwise(site: Site) -> list[Any]:
    """Return the bits that both numbers have, that either has, or that exactly one of them has."""
    first, second = _signed(site)
    common = _common_bits(first, second)
    result = {
        "BitwiseAnd": lambda: common,
        "BitwiseOr": lambda: first + second - common,
        "BitwiseXor": lambda: first + second - common - common,
    }[site.op.type]()
    return [tf.cast(result, site.inputs[0].dtype)]


@rewrites("Invert")
def invert(site: Site) -> list[Any]:
    """Return the numbers with every bit inverted."""
    (number,) = _signed(site)
    return [tf.cast(-1 - number, site.inputs[0].dtype)]


def _signed(site: Site) -> list[Any]:
    """Return the inputs as signed integers of 32 or 64 bits, the type of the computation."""
    wide = tf.int64 if site.inputs[0].dtype in (tf.int64, tf.uint32, tf.uint64) else tf.int32
    return [tf.cast(value, wide) for value in site.inputs]


def _power_of_two(count: Any) -> Any:
    """Return powers of two; the last is the negative number of which only the sign bit is set."""
    width = count.dtype.size * 8
    powers = (np.uint64(1) << np.arange(width, dtype=np.uint64)).astype(count.dtype.as_numpy_dtype)
    fixed_count = static_value(count)
    if fixed_count is not None:
        return tf.constant(powers[np.clip(fixed_count, 0, width - 1)])
    return tf.gather(tf.constant(powers), tf.clip_by_value(count, 0, width - 1))


def _common_bits(first: Any, second: Any) -> Any:
    """Return the bits that both numbers have."""
    for number, mask in ((first, second), (second, first)):
        fixed_mask = static_value(mask)
        if fixed_mask is not None and fixed_mask.size == 1:
            return _masked(number, int(fixed_mask.reshape(-1)[0]))
    bits = first.dtype.size * 8 - 1  # all but the sign
    powers = tf.constant(1 << np.arange(bits, dtype=np.int64), first.dtype)
    shared = _bits(first, powers) * _bits(second, powers) * powers
    # A single sum of 63 bits loses the lowest bits in onnxruntime.
    parts = [shared] if bits == _HALF else [shared[..., :_HALF], shared[..., _HALF:]]
    lowest = tf.constant(first.dtype.min, first.dtype)
    signs = tf.cast((first < 0) & (second < 0), first.dtype) * lowest
    return functools.reduce(tf.add, [tf.reduce_sum(part, -1) for part in parts], signs)


def _bits(number: Any, powers: Any) -> Any:
    """Return a row of bits for each number, the lowest first."""
    shifted = rounded_down(tf.expand_dims(number, -1), powers)
    return shifted - 2 * rounded_down(shifted, tf.constant(2, number.dtype))


def _masked(number: Any, mask: int) -> Any:
    """Return the bits of `number` that `mask` selects, one run of set bits at a time."""
    width = number.dtype.size * 8
    kept = tf.zeros_like(number)
    for low, high in _runs(mask & ((1 << width) - 1)):
        part = number if not low else rounded_down(number, tf.constant(1 << low, number.dtype))
        if high < width:
            above = rounded_down(part, tf.constant(1 << (high - low), number.dtype))
            part -= above * tf.constant(1 << (high - low), number.dtype)
        kept += part * tf.constant(1 << low, number.dtype) if low else part
    return kept


def _runs(mask: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each run of set bits."""
    low = 0
    while mask >> low:
        if mask >> low & 1:
            high = low
            while mask >> high & 1:
                high += 1
            yield low, high
            low = high
        low += 1
