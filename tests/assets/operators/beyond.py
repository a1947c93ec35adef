"""Cases for `tests.support.operators`: infinity and NaN stay where they are, whatever else is chosen."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def _rows(*shape: int) -> Any:
    """Return numbers with infinities, NaN and both zeros among them."""
    values = np.random.default_rng(shape).standard_normal(shape).astype(np.float32)
    flat = values.reshape(-1)
    flat[::5], flat[3::7], flat[4::11], flat[6::13] = np.inf, -np.inf, np.nan, -0.0
    return values


_MATRICES = [(_rows(2, 4, 4),), (_rows(3, 4, 4),)]
_LISTS = [(_rows(6, 4),), (_rows(3, 4),), (_rows(1, 4),)]
_IMAGES = [(_rows(2, 5, 6, 3),)]
_WORDS = np.random.default_rng(1).integers(0, 9, (6, 4)).astype(np.int32)

CASES: dict[str, Any] = {
    "beyond_band_part": (lambda a: tf.linalg.band_part(a, 1, -1), _MATRICES),
    "beyond_band_of_input": (
        lambda a, b: tf.linalg.band_part(a, b[0], b[1]),
        [(_rows(2, 4, 5), np.array(band, np.int32)) for band in ([0, -1], [1, 2], [-1, -1])],
    ),
    "beyond_diag": (lambda a: tf.linalg.diag(a, k=1), _LISTS),
    "beyond_diag_part": (lambda a: tf.linalg.diag_part(a, k=1), _MATRICES),
    "beyond_set_diag": (lambda a: tf.linalg.set_diag(a, a[:, 0] * 2), _MATRICES),
    "beyond_trace": (tf.linalg.trace, _MATRICES),
    "beyond_bincount": (
        lambda a, b: tf.math.bincount(b, weights=a, minlength=9, maxlength=9, axis=-1),
        [(_rows(6, 4), _WORDS)],
    ),
    "beyond_one_hot": (lambda a, b: tf.one_hot(b, 9, a[0, 0], a[0, 1]), [(_rows(6, 4), _WORDS)]),
    "beyond_cumsum": (lambda a: tf.cumsum(a, 1), _LISTS),
    "beyond_cumprod": (lambda a: tf.math.cumprod(a, 1), _LISTS),
    "beyond_cumsum_exclusive": (lambda a: tf.cumsum(a, 1, exclusive=True), _LISTS),
    "beyond_segment_max": (lambda a: tf.math.unsorted_segment_max(a, [0, 1, 1, 0, 3, 3], 5), _LISTS[:1]),
    "beyond_scatter_max": (
        lambda a: tf.tensor_scatter_nd_max(tf.zeros([9, 4]), [[0], [3], [4], [5], [6], [8]], a),
        _LISTS[:1],
    ),
    "beyond_scatter_update": (
        lambda a: tf.tensor_scatter_nd_update(a, [[0]], a[:1] * 2),
        _LISTS,
    ),
    "beyond_pad": (lambda a: tf.pad(a, [[1, 1], [2, 0]]), _LISTS),
    "beyond_roll": (lambda a: tf.roll(a, 1, 1), _LISTS),
    "beyond_reverse": (lambda a: tf.reverse(a, [1]), _LISTS),
    "beyond_gather": (lambda a: tf.gather(a, [3, 0, 0], axis=1), _LISTS),
    "beyond_resize": (lambda a: tf.image.resize(a, (10, 12), "nearest"), _IMAGES),
    "beyond_patches": (
        lambda a: tf.image.extract_patches(a, [1, 2, 2, 1], [1, 1, 1, 1], [1, 1, 1, 1], "VALID"),
        _IMAGES,
    ),
    "beyond_patches_padded": (
        lambda a: tf.image.extract_patches(a, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME"),
        _IMAGES,
    ),
    "beyond_max_pool": (lambda a: tf.nn.max_pool2d(a, 2, 1, "SAME"), [(np.nan_to_num(_rows(2, 5, 6, 3)),)]),
    "beyond_where": (lambda a: tf.where(a > 0, a, tf.zeros_like(a)), _LISTS),
    "beyond_masked_mean": (lambda a: tf.reduce_mean(tf.boolean_mask(a[0], [True, False] * 2)), _LISTS),
    "beyond_top_k": (lambda a: tf.math.top_k(tf.where(tf.math.is_nan(a), 0.0, a), 3).values, _LISTS),
    "beyond_repeat": (lambda a: tf.repeat(a, 2, axis=1), _LISTS),
    "beyond_determinant": (lambda a: tf.linalg.det(a[:, :2, :2]), _MATRICES),
    "beyond_cross": (lambda a: tf.linalg.cross(a[..., :3], a[..., 1:]), _LISTS),
    "beyond_histogram": (
        lambda a: tf.histogram_fixed_width(tf.where(tf.math.is_nan(a), 0.0, a), [-1.0, 1.0], 5),
        _LISTS,
    ),
}

QUICK = ["beyond_band_part", "beyond_band_of_input", "beyond_bincount", "beyond_set_diag"]
