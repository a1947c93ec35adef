"""Cases for `tests.support.operators`: what was wrong without a word, and the values that show it."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

_FLOATS = np.array([-np.inf, -3.5, -1.0, -1e-8, -0.0, 0.0, 1e-8, 0.25, 3e3, 3e38, np.inf, np.nan], np.float32)
_WHOLE = np.array([-(2**31), -1000004, -17, -8, -1, 0, 1, 7, 8, 1000003, 2**31 - 1], np.int32)
_IDS = np.array([-(2**62), -5, -1, 0, 3, 1000003, 2**40 + 1], np.int64)


def _rows(*shape: int) -> Any:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def _images(*sizes: tuple[int, int]) -> list[tuple[Any, ...]]:
    return [(_rows(1, high, wide, 2),) for high, wide in sizes]


def _places(end: int, *counts: int) -> list[tuple[Any, ...]]:
    """Return rows and where each goes, several to the same place."""
    return [
        (_rows(count, 3), np.random.default_rng(count).integers(0, end, count, np.int32)) for count in counts
    ]


_IMAGES = _images((8, 12), (19, 13), (30, 25), (1, 3))
_SEGMENTS = [
    (_rows(5, 3), np.array([0, 0, 3, 3, -1], np.int32)),
    (_rows(1, 3), np.array([2], np.int32)),
    (np.zeros((0, 3), np.float32), np.zeros(0, np.int32)),
]
_BEYOND = np.zeros((9, 3), np.float32)
_BEYOND[[0, 2, 3, 5]] = np.array([[np.inf], [-np.inf], [np.inf], [np.nan]], np.float32) * [[1, 1, 1]]
_BEYOND[[1, 4, 6], 1] = [2.5, -np.inf, 3e38]
_BEYOND_AT = [(_BEYOND, np.array([0, 0, 1, 2, 2, 3, 4, 4, 1], np.int32))]
"""Rows with infinity and NaN: to a place go one sign, the other, both, NaN, and large numbers alone."""
_VALUES = [(_rows(3, 2), np.array([0, 0, 1], np.int32))]
_EDGES = [
    (_rows(4, 3), np.array([0, 3, 3, 1], np.int32), np.array([1, 1, 1, 0], np.int32)),
    (_rows(7, 3), np.array([6, 6], np.int32), np.array([2, 2], np.int32)),
]


def _messages(nodes: Any, sources: Any, ends: Any) -> Any:
    return nodes + tf.math.unsorted_segment_sum(tf.gather(nodes, sources), ends, tf.shape(nodes)[0])


def _softmax_over_edges(nodes: Any, sources: Any, ends: Any) -> Any:
    scores, count = tf.gather(nodes, sources), tf.shape(nodes)[0]
    powers = tf.exp(scores - tf.gather(tf.math.unsorted_segment_max(scores, ends, count), ends))
    return powers / tf.gather(tf.math.unsorted_segment_sum(powers, ends, count), ends)


def _padded(image: Any) -> Any:
    high, wide = tf.shape(image)[1], tf.shape(image)[2]
    return tf.pad(image, [[0, 0], [0, -high % 8], [0, (-wide) % 8], [0, 0]])


CASES: dict[str, Any] = {
    "log1p": (tf.math.log1p, [(_FLOATS,)]),
    "softplus_by_hand": (lambda a: tf.math.log1p(tf.exp(a)), [(_FLOATS * 30,)]),
    "expm1": (tf.math.expm1, [(_FLOATS,)]),
    "xlog1py": (tf.math.xlog1py, [(_FLOATS, _FLOATS[::-1].copy())]),
    "xlogy": (tf.math.xlogy, [(_FLOATS, _FLOATS[::-1].copy())]),
    "hash": (lambda a: a % tf.constant(1000003, tf.int64), [(_IDS,)]),
    "modulo": (lambda a: a % 8, [(_WHOLE,)]),
    "modulo_of_negative": (lambda a: a % -8, [(_WHOLE,)]),
    "modulo_by_input": (lambda a, b: a % b, [(_WHOLE, np.resize([3, -7, 2**30], 11).astype(np.int32))]),
    "truncate_mod": (lambda a: tf.truncatemod(a, 8), [(_WHOLE,)]),
    "floor_division": (lambda a: a // 8, [(_WHOLE,)]),
    "floor_division_by_input": (lambda a, b: a // b, [(_WHOLE, np.resize([3, -7], 11).astype(np.int32))]),
    "crop_or_pad": (lambda a: tf.image.resize_with_crop_or_pad(a, 16, 16), _IMAGES),
    "pad_to_multiple": (_padded, _IMAGES),
    "crop_to_multiple": (lambda a: a[:, : tf.shape(a)[1] // 8 * 8], _IMAGES),
    "central_crop": (lambda a: tf.image.central_crop(a, 0.5), _IMAGES[:3]),
    "scatter_rows": (lambda a, b: tf.scatter_nd(b[:, None], a, [400, 3]), _places(9, 5, 40)),
    "scatter_far": (lambda a, b: tf.scatter_nd(b[:, None], a, [9000, 3]), _places(9, 5, 40)),
    "scatter_open": (
        lambda a, b: tf.scatter_nd(tf.stack([b, b // 2], 1), a, [tf.shape(a)[0] * 9, 9, 3]),
        _places(9, 5, 40),
    ),
    "scatter_rows_beyond": (lambda a, b: tf.scatter_nd(b[:, None], a, [6, 3]), _BEYOND_AT),
    "scatter_far_beyond": (lambda a, b: tf.scatter_nd(b[:, None], a, [9000, 3]), _BEYOND_AT),
    "scatter_counts": (
        lambda a, b: tf.scatter_nd(b[:, None], tf.ones_like(b), [9]) + tf.shape(a)[0],
        _places(9, 5, 40),
    ),
    "scatter_distinct": (lambda a: tf.scatter_nd([[4], [1]], a[:2], [6, 3]), [(_rows(2, 3),)]),
    "scatter_add": (
        lambda a, b: tf.tensor_scatter_nd_add(tf.ones([6000, 3]), b[:, None], a),
        _places(9, 5, 40),
    ),
    "scatter_sub": (
        lambda a, b: tf.tensor_scatter_nd_sub(tf.ones([10, 3]), b[:, None], a),
        _places(9, 5, 40),
    ),
    "scatter_max": (
        lambda a, b: tf.tensor_scatter_nd_max(tf.zeros([10, 3]), b[:, None], a),
        _places(9, 5, 40),
    ),
    "scatter_min": (
        lambda a, b: tf.tensor_scatter_nd_min(tf.zeros([10, 3]), b[:, None], a),
        _places(9, 5, 40),
    ),
    "confusion_matrix": (
        lambda a, b: tf.math.confusion_matrix(b, b[::-1], 9) + tf.cast(tf.size(a) * 0, tf.int32),
        _places(9, 5, 40),
    ),
    "histogram": (
        lambda a: tf.histogram_fixed_width(a, [-1.0, 1.0], 5),
        [(_rows(40),), (np.zeros(7, np.float32),)],
    ),
    "segment_sum": (lambda a, b: tf.math.unsorted_segment_sum(a, b, 4), _SEGMENTS),
    "segment_sum_beyond": (lambda a, b: tf.math.unsorted_segment_sum(a, b, 6), _BEYOND_AT),
    "segment_mean_beyond": (lambda a, b: tf.math.unsorted_segment_mean(a, b, 6), _BEYOND_AT),
    "segment_max": (lambda a, b: tf.math.unsorted_segment_max(a, b, 4), _SEGMENTS),
    "segment_min": (lambda a, b: tf.math.unsorted_segment_min(a, b, 4), _SEGMENTS),
    "segment_prod": (lambda a, b: tf.math.unsorted_segment_prod(a, b, 4), _SEGMENTS),
    "segment_mean": (lambda a, b: tf.math.unsorted_segment_mean(a, b, 4), _SEGMENTS),
    "segment_sqrt_n": (lambda a, b: tf.math.unsorted_segment_sqrt_n(a, b, 4), _SEGMENTS),
    "segment_counts": (
        lambda a, b: tf.math.unsorted_segment_sum(tf.ones_like(b), b, 4) + tf.shape(a)[1],
        _SEGMENTS,
    ),
    "segments_of_rows": (
        lambda a: tf.math.unsorted_segment_sum(a, tf.constant([[0, 1, 0], [2, 2, 0]]), 3),
        [(_rows(2, 3, 4),)],
    ),
    "graph_messages": (_messages, _EDGES),
    "graph_attention": (_softmax_over_edges, _EDGES),
    **{
        f"sparse_segment_{kind}": (
            lambda a, b, kind=kind: getattr(tf.sparse, f"segment_{kind}")(a, b, [0, 0, 2, 2], num_segments=4),
            [
                (_rows(5, 3), np.array([4, 0, 1, 1], np.int32)),
                (_rows(2, 3), np.array([0, 1, 1, 0], np.int32)),
            ],
        )
        for kind in ("sum", "mean", "sqrt_n")
    },
    "sparse_segment_of_constants": (
        lambda a: tf.sparse.segment_mean(a, [0, 1, 2], [0, 0, 2]),
        [(_rows(5, 3),)],
    ),
    # Not wrong, but of a size that depends on values.
    "segment_sum_of_values": (tf.math.segment_sum, _VALUES),
    "sparse_segment_sum_of_values": (lambda a, b: tf.sparse.segment_sum(a, [0, 1, 2], b), _VALUES),
    "unsorted_segment_sum_of_values": (
        lambda a, b: tf.math.unsorted_segment_sum(a, b, tf.reduce_max(b) + 1),
        _VALUES,
    ),
    "segment_max_of_constants": (lambda a: tf.math.segment_max(a, [0, 0, 2, 2]), [(_rows(4, 3),)]),
    "segment_mean_of_constants": (lambda a: tf.math.segment_mean(a, [0, 0, 2, 2]), [(_rows(4, 3),)]),
    "segment_prod_of_constants": (lambda a: tf.math.segment_prod(a, [0, 0, 2, 2]), [(_rows(4, 3),)]),
}
