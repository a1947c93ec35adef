"""Cases for `tests.support.operators`: numbers that follow from open sizes, which differ."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def _rows(*shape: int) -> Any:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def _ratio(a: Any) -> Any:
    """Return 1 for equal sizes, and 2 or 0 for others."""
    return tf.shape(a)[1] // tf.shape(a)[2]


def _least(a: Any) -> Any:
    return tf.minimum(tf.shape(a)[1], 9)


_TABLES = [(_rows(2, *sizes),) for sizes in ((6, 6), (12, 5), (7, 7))]

CASES: dict[str, Any] = {
    "pad_symmetric_by_ratio": (lambda a: tf.pad(a, [[0, 0], [_ratio(a)] * 2, [0, 0]], "SYMMETRIC"), _TABLES),
    "pad_symmetric_by_parity": (
        lambda a: tf.pad(a, [[0, 0], [0, tf.shape(a)[1] % 2], [1, 0]], "SYMMETRIC"),
        _TABLES,
    ),
    "one_hot_of_ratio": (lambda a: tf.one_hot([0, 1, 2], _ratio(a) + 1) + a[0, 0, 0], _TABLES),
    "segments_of_ratio": (
        lambda a: tf.math.unsorted_segment_sum(a[0, :3], [0, 1, 1], _ratio(a) + 1),
        _TABLES,
    ),
    "scatter_to_least": (
        lambda a: tf.scatter_nd([[0], [1], [1]], a[0, :3], [_least(a), tf.shape(a)[2]]),
        _TABLES,
    ),
    "slice_of_least": (
        lambda a: tf.slice(a, [0, tf.cast(a[0, 0, 0] * 0, tf.int32), 0], [-1, _least(a), 2]),
        _TABLES,
    ),
    "divide_by_difference": (
        lambda a: tf.cast(a * 9, tf.int32) // (tf.shape(a)[1] - tf.shape(a)[2] * 2),
        _TABLES,
    ),
    "resize_to_least": (lambda a: tf.image.resize(a[..., None], [_least(a), 4]), _TABLES),
    "diag_of_ratio": (lambda a: tf.linalg.diag(a[0, 0], k=_ratio(a)), _TABLES),
    "bincount_of_least": (
        lambda a: tf.math.bincount(
            tf.cast(tf.abs(a[0]), tf.int32), minlength=_least(a), maxlength=_least(a), axis=-1
        ),
        _TABLES,
    ),
}
