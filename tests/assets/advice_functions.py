"""Models that are refused, and the same ones after following the advice, for convert_functions.py.

`NAME` is refused; `NAME_followed` is what its advice leads to.
"""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,untyped-decorator,no-untyped-call"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

CASES: dict[str, Any] = {}
_ROWS = (None, 4)
_PICTURES = (1, 8, 8, 3)
_LENGTHS = {"a": {"min": [1, 4], "opt": [2, 8], "max": [3, 16]}}
_LIKE = {"like": {"min": [1, 4, 4], "opt": [1, 8, 8], "max": [1, 16, 16]}}


def _case(
    name: str,
    function: Callable[..., Any],
    shape: tuple[int | None, ...],
    other: Any = None,
    ranges: dict[str, Any] | None = None,
) -> None:
    specs = [tf.TensorSpec(shape, tf.float32, "a"), *([] if other is None else [other])]
    CASES[name] = (lambda *inputs: {"y": function(*inputs)}, specs, ranges)


# Inputs whose values are sizes: each operation that takes a size.
_SCALAR = tf.TensorSpec((), tf.int32, "size")
_PAIR = tf.TensorSpec((2,), tf.int32, "size")
_case("reshape_by_values", tf.reshape, _ROWS, _PAIR)
_case("reshape", lambda a, size: tf.reshape(a, tf.stack([-1, size])), _ROWS, _SCALAR)
_case("fill", lambda a, size: tf.fill(size + 2, tf.reduce_sum(a)), _ROWS, _PAIR)
_case("resize", lambda a, size: tf.image.resize(a, size + 3), _PICTURES, _PAIR)
_case("tile", lambda a, size: tf.tile(a, size + 2), _ROWS, _PAIR)
_case("pad", lambda a, size: tf.pad(a, tf.stack([[0, 0], [0, size + 1]])), _ROWS, _SCALAR)
_case("cut", lambda a, size: a[:, size:], _ROWS, _SCALAR)
_case("count", lambda a, size: tf.cast(tf.range(size + 2), tf.float32) * tf.reduce_sum(a), _ROWS, _SCALAR)
_case("roll", lambda a, size: tf.roll(a, size, 1), _ROWS, _SCALAR)
_case(
    "resize_followed",
    lambda a, like: tf.image.resize(a, tf.shape(like)[1:3]),
    _PICTURES,
    tf.TensorSpec((1, None, None), tf.float32, "like"),
    _LIKE,
)
_case("roll_followed", lambda a, size: tf.gather(a, (tf.range(4) - size) % 4, axis=1), _ROWS, _SCALAR)

# Operations without a form in ONNX.
_case("fourier", lambda a: tf.abs(tf.signal.rfft(a)), (None, None), ranges=_LENGTHS)
_case("fourier_followed", lambda a: tf.abs(tf.signal.rfft(a, [16])), (None, None), ranges=_LENGTHS)
_case("inverse", lambda a: tf.linalg.inv(a + 4 * tf.eye(5)), (None, 5, 5))
_case("inverse_followed", lambda a: tf.linalg.inv(a + 4 * tf.eye(3)), (None, 3, 3))
_case("determinant", tf.linalg.det, (None, 4, 4))
_case("counted", lambda a: tf.math.bincount(tf.cast(tf.abs(a), tf.int32)), (None,))
_case(
    "counted_followed",
    lambda a: tf.reduce_sum(tf.one_hot(tf.cast(tf.abs(a), tf.int32), 5), axis=0),
    (None,),
)
_IDS = tf.TensorSpec((5,), tf.int32, "ids")
_case("segments", lambda a, ids: tf.math.segment_sum(a, ids * 0), (5, 4), _IDS)
_case(
    "segments_followed",
    lambda a, ids: tf.math.unsorted_segment_sum(a, ids, 3),
    (5, 4),
    _IDS,
)
_case("added_exponents", lambda a: tf.math.cumulative_logsumexp(a, 1), (None, None), ranges=_LENGTHS)
_case("added_exponents_followed", lambda a: tf.math.cumulative_logsumexp(a, 1), (None, 8))
_case("error_function", tf.math.erfinv, _ROWS)

# Graphs that TensorRT-RTX refuses.
_case("unique", lambda a: tf.unique(tf.cast(a, tf.int32))[0], (None,))
_case("multiplied", lambda a: tf.math.cumprod(a, 1), (None, None), ranges=_LENGTHS)
_case("multiplied_followed", lambda a: tf.math.cumprod(a, 1), (None, 8))
_case(
    "nested_conditions",
    lambda a: tf.cond(a[0, 0] > 0, lambda: tf.cond(a[0, 1] > 0, lambda: a * 2, lambda: a - 1), lambda: a),
    _ROWS,
)
_case(
    "nested_conditions_followed",
    lambda a: tf.cond(a[0, 0] > 0, lambda: tf.where(a[0, 1] > 0, a * 2, a - 1), lambda: a),
    _ROWS,
)
_case("masked", lambda a: tf.boolean_mask(a, a[:, 0] > 0), _ROWS)
_case("masked_followed", lambda a: tf.where(a[:, :1] > 0, a, 0.0), _ROWS)
