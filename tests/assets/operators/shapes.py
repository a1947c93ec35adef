"""Cases for `tests.support.operators`: operations that look up, arrange, count and combine tensors.

Sizes are odd, rows repeat, indices collide, lie at the ends or count from the end, and some tensors are
empty.
"""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf


def _rows(*shape: int) -> Any:
    """Return numbers with two equal rows."""
    values = np.random.default_rng(shape).standard_normal(shape).astype(np.float32)
    values[-1] = values[0]
    return values


def _ints(end: int, *shape: int) -> Any:
    return np.random.default_rng(shape).integers(0, end, shape).astype(np.int32)


_PAIRS = [(_rows(5, 7), _ints(5, 4)), (_rows(3, 7), np.array([0, 2, 2, 0], np.int32))]
_IMAGES = [(_rows(2, 7, 9, 3),), (_rows(1, 8, 6, 3),), (_rows(3, 5, 5, 3),)]
_MATRICES = [(_rows(2, 4, 4),), (_rows(3, 4, 4),)]
_WIDE = [(_rows(2, 3, 5),)]
_LISTS = [(_rows(6, 4),), (_rows(3, 4),), (_rows(1, 4),)]
_WORDS = [(_ints(9, 6, 5),), (_ints(9, 1, 5),)]
_SIGNED = [(np.array([[-3, -1, 0, 2, 9], [4, 4, 5, -7, 3]], np.int32),)]
_FAR = [(np.array([3, 2**32 + 1, 2**32, 0, 2**40 + 2], np.int64),)]
_HUGE = [(np.append(_FAR[0][0], [-1, -(2**32) + 1]),)]
_TABLE = keras.layers.IntegerLookup(
    vocabulary=[3, 7, 9], mask_token=0, num_oov_indices=2, output_mode="multi_hot"
)
_COUNTS = keras.layers.IntegerLookup(vocabulary=[3, 7, 9], output_mode="count")
_HOT = keras.layers.IntegerLookup(vocabulary=[3, 7, 9], output_mode="one_hot")
_WEIGHT = tf.constant(_rows(5, 3))
_SPARSE = tf.sparse.from_dense(np.where(_rows(5, 7) > 0.3, _rows(5, 7), 0).astype(np.float32))


def _spectrum(a: Any) -> Any:
    return tf.signal.rfft(a)


def _pair(value: Any) -> Any:
    return tf.math.real(value), tf.math.imag(value)


def _appended(a: Any) -> Any:
    array = tf.TensorArray(tf.float32, size=3, element_shape=(None, 4), infer_shape=False)
    for place in range(3):
        array = array.write(place, a * float(place))
    return array.concat()


CASES: dict[str, Any] = {
    # Looking up and taking apart.
    "gather": (tf.gather, _PAIRS),
    "gather_columns": (lambda a, b: tf.gather(a, b, axis=1), _PAIRS),
    "gather_batched": (
        lambda a, b: tf.gather(a, tf.stack([b, b], 1)[: tf.shape(a)[0]], axis=1, batch_dims=1),
        [(_rows(4, 7), _ints(5, 4))],
    ),
    "gather_nd": (lambda a, b: tf.gather_nd(a, tf.stack([b, b], 1)), [(_rows(5, 7), _ints(5, 4))]),
    "gather_nd_batched": (
        lambda a, b: tf.gather_nd(a, b[:, None], batch_dims=1),
        [(_rows(4, 7), _ints(5, 4))],
    ),
    "take_from_the_end": (lambda a: a[:, -3:-1], _LISTS),
    "take_backwards": (lambda a: a[::-1, ::-2], _LISTS),
    "take_one": (lambda a: a[-1], _LISTS),
    "take_nothing": (lambda a: a[:, 4:], _LISTS),
    "take_by_input": (lambda a, b: a[b[0] : b[0] + 2, ::2], _PAIRS),
    "slice_to_the_end": (lambda a: tf.slice(a, [0, 1], [-1, 2]), _LISTS),
    "strided_new_axis": (lambda a: a[:, tf.newaxis, ..., 1], _LISTS),
    "boolean_mask": (lambda a: tf.boolean_mask(a, a[:, 0] > 0), _LISTS),
    "where_indices": (lambda a: tf.where(a > 0), _LISTS),
    "split": (lambda a: tf.split(a, 2, 1), _LISTS),
    "split_uneven": (lambda a: tf.split(a, [1, -1, 2], 1), _LISTS),
    "unstack": (lambda a: tf.unstack(a, axis=1), _LISTS),
    "one_hot": (lambda a: tf.one_hot(a, 4), _SIGNED),
    "one_hot_of_masks": (lambda a: tf.one_hot(a, 4, True, False), _SIGNED),
    "one_hot_huge": (lambda a: tf.one_hot(a, 4), _HUGE),
    "one_hot_first": (lambda a: tf.one_hot(a, 4, 5.0, -1.0, axis=0), _SIGNED),
    "one_hot_ints": (lambda a: tf.one_hot(a, 4, dtype=tf.int32), _SIGNED),
    "searchsorted": (lambda a: tf.searchsorted([-1.0, 0.0, 0.0, 1.0], tf.reshape(a, [-1])), _LISTS),
    "bucketize": (lambda a: tf.raw_ops.Bucketize(input=a, boundaries=[-1.0, 0.0, 2.0]), _SIGNED),
    # Arranging.
    "transpose": (lambda a: tf.transpose(a, [0, 2, 1]), _WIDE),
    "reshape": (lambda a: tf.reshape(a, [tf.shape(a)[0], -1]), _IMAGES),
    "tile": (lambda a: tf.tile(a, [2, 3]), _LISTS),
    "tile_none": (lambda a: tf.tile(a, [0, 1]), _LISTS),
    "repeat": (lambda a: tf.repeat(a, [2, 0, 1, 3], axis=1), _LISTS),
    "repeat_number": (lambda a: tf.repeat(a, 3, axis=0), _LISTS),
    "repeat_by_input": (
        lambda a, b: tf.repeat(a[:4], b[: tf.shape(a[:4])[0]], axis=0),
        [(_rows(4, 7), _ints(3, 4))],
    ),
    "roll": (lambda a: tf.roll(a, [1, -2], [0, 1]), _LISTS),
    "roll_far": (lambda a: tf.roll(a, 11, 1), _LISTS),
    "reverse": (lambda a: tf.reverse(a, [0, 1]), _LISTS),
    "reverse_sequence": (
        lambda a, b: tf.reverse_sequence(a, b, seq_axis=1),
        [(_rows(4, 7), np.array([0, 1, 7, 3], np.int32))],
    ),
    "concat": (lambda a: tf.concat([a, a[:1], a[:0]], 0), _LISTS),
    "stack": (lambda a: tf.stack([a, -a], 1), _LISTS),
    "pad": (lambda a: tf.pad(a, [[1, 0], [2, 3]], constant_values=-1.0), _LISTS),
    "pad_reflect": (lambda a: tf.pad(a, [[0, 0], [2, 3]], "REFLECT"), _LISTS),
    "pad_symmetric": (lambda a: tf.pad(a, [[0, 0], [2, 3]], "SYMMETRIC"), _LISTS),
    "broadcast": (lambda a: tf.broadcast_to(a[:1], [4, 4]), _LISTS),
    "expand_squeeze": (lambda a: tf.squeeze(a[:, None, :, None], [1]), _LISTS),
    "meshgrid": (lambda a: tf.meshgrid(a[:, 0], a[0]), _LISTS),
    "range": (lambda a: tf.range(tf.shape(a)[0], -2, -1), _LISTS),
    "linspace": (lambda a: tf.linspace(a[0, 0], a[0, 1], 5), _LISTS),
    "fill": (lambda a: tf.fill([tf.shape(a)[0], 2], a[0, 0]), _LISTS),
    "space_to_depth": (lambda a: tf.nn.space_to_depth(a, 2), [(_rows(2, 4, 6, 3),), (_rows(1, 8, 2, 3),)]),
    "depth_to_space": (lambda a: tf.nn.depth_to_space(a, 2), [(_rows(2, 3, 5, 8),)]),
    "space_to_batch": (lambda a: tf.space_to_batch(a, [2, 2], [[0, 0], [1, 1]]), [(_rows(2, 4, 6, 3),)]),
    "invert_permutation": (tf.math.invert_permutation, [(np.array([3, 0, 2, 1], np.int32),)]),
    "dynamic_stitch": (lambda a: tf.dynamic_stitch([[0, 2], [1, 3]], [a[:2], a[:2] * 2]), [(_rows(2, 4),)]),
    "dynamic_partition": (lambda a, b: tf.dynamic_partition(a[:4], b % 2, 2), [(_rows(4, 7), _ints(5, 4))]),
    "tensor_array_concat": (_appended, _LISTS),
    "slice_update": (
        lambda a, b: keras.ops.slice_update(a, [0, b[0], 0], a[:, :2] * 2),
        [(_rows(1, 5, 3), np.array([place], np.int32)) for place in (0, 2, 9, -1)],
    ),
    "slice_update_fixed": (lambda a: keras.ops.slice_update(a, [0, 1, 0], a[:, :2] * 2), [(_rows(1, 5, 3),)]),
    "slice_by_input": (
        lambda a, b: keras.ops.slice(a, [0, b[0], 0], [1, 2, 3]),
        [(_rows(1, 5, 3), np.array([place], np.int32)) for place in (0, 2, 3)],
    ),
    # Diagonals.
    **{f"diag_{k}": (lambda a, k=k: tf.linalg.diag(a, k=k), _LISTS) for k in (-2, -1, 0, 1, 3)},
    "diag_of_sizes": (lambda a: tf.linalg.diag(a, k=1, num_rows=6, num_cols=5, padding_value=7.0), _LISTS),
    "diag_band": (lambda a: tf.linalg.diag(a[:, :3], k=(-1, 1)), [(_rows(2, 3, 4),)]),
    **{
        f"set_diag_{k}": (
            lambda a, k=k: tf.linalg.set_diag(a, tf.ones([tf.shape(a)[0], 4 - abs(k)]) * 9, k=k),
            _MATRICES,
        )
        for k in (-1, 0, 1, 2)
    },
    "set_diag_wide": (lambda a: tf.linalg.set_diag(a, a[:, :, 0]), [(_rows(2, 3, 5),), (_rows(1, 3, 5),)]),
    **{f"diag_part_{k}": (lambda a, k=k: tf.linalg.diag_part(a, k=k), _MATRICES) for k in (-1, 0, 1)},
    "diag_part_wide": (tf.linalg.diag_part, _WIDE),
    "band_part": (lambda a: tf.linalg.band_part(a, 1, -1), _MATRICES),
    "band_part_of_a_mask": (lambda a: tf.linalg.band_part(a > 0, -1, 0), _MATRICES),
    "band_part_wide": (lambda a: tf.linalg.band_part(a, 0, 2), _WIDE),
    "trace": (tf.linalg.trace, _MATRICES),
    "eye": (lambda a: tf.eye(tf.shape(a)[0], 3), _LISTS),
    # Products.
    "matmul": (lambda a: tf.matmul(a, a, transpose_b=True), _LISTS),
    "matmul_int": (lambda a: tf.matmul(a, a, transpose_b=True), _SIGNED),
    "matmul_int_batched": (lambda a: tf.matmul(a[None], a[None], transpose_a=True), _SIGNED),
    "matmul_adjoint": (lambda a: tf.matmul(a, a, adjoint_a=True), _LISTS),
    "matmul_sparse": (lambda a: tf.sparse.sparse_dense_matmul(_SPARSE, a), [(_rows(7, 4),)]),
    "matmul_sparse_adjoint": (
        lambda a: tf.sparse.sparse_dense_matmul(_SPARSE, a, adjoint_a=True),
        [(_rows(5, 4),)],
    ),
    "tensordot": (lambda a: tf.tensordot(a, _WEIGHT, [[2], [0]]), [(_rows(2, 3, 5),), (_rows(4, 3, 5),)]),
    "einsum_trace": (lambda a: tf.einsum("bii->b", a), _MATRICES),
    "einsum_outer": (lambda a: tf.einsum("bi,bj->bij", a, a), _LISTS),
    "einsum_sum": (lambda a: tf.einsum("bij->i", a), _MATRICES),
    "einsum_three": (lambda a: tf.einsum("bij,bjk,bkl->bil", a, a, a), _MATRICES),
    "complex_einsum": (
        lambda a: _pair(tf.einsum("bi,ij->bj", _spectrum(a), tf.complex(_WEIGHT, -_WEIGHT))),
        [(_rows(3, 8),)],
    ),
    "complex_einsum_modes": (
        lambda a: _pair(
            tf.einsum("bix,iox->box", _spectrum(a), tf.complex(_rows(3, 2, 5), _rows(3, 2, 5)[::-1]))
        ),
        [(_rows(2, 3, 8),)],
    ),
    "complex_adjoint": (lambda a: _pair(tf.linalg.adjoint(tf.complex(a, a[:, ::-1]))), _MATRICES),
    "complex_matmul_adjoint": (
        lambda a: _pair(tf.matmul(tf.complex(a, a[:, ::-1]), tf.complex(a, a), adjoint_b=True)),
        _MATRICES,
    ),
    "normalize": (lambda a: tf.linalg.normalize(a, axis=1)[0], _LISTS),
    "norm_of_matrices": (lambda a: tf.norm(a, axis=[1, 2]), _MATRICES),
    "determinant": (tf.linalg.det, [(_rows(2, 3, 3),)]),
    "inverse": (lambda a: tf.linalg.inv(a + 3 * tf.eye(3)), [(_rows(2, 3, 3),)]),
    # Counts and sets.
    "bincount": (lambda a: tf.math.bincount(a, minlength=9, maxlength=9, axis=-1), _WORDS),
    "bincount_huge": (lambda a: tf.math.bincount(a[None], minlength=4, maxlength=4, axis=-1), _FAR),
    "bincount_cut": (lambda a: tf.math.bincount(a, minlength=4, maxlength=4, axis=-1), _WORDS),
    "bincount_binary": (
        lambda a: tf.math.bincount(a, minlength=9, maxlength=9, axis=-1, binary_output=True),
        _WORDS,
    ),
    "bincount_weighted": (
        lambda a: tf.math.bincount(a, weights=tf.cast(a, tf.float32) / 2, minlength=9, maxlength=9, axis=-1),
        _WORDS,
    ),
    "lookup_multi_hot": (_TABLE, [(np.array([[3, 0, 7, 7], [1, 2, 9, -5]], np.int64),)]),
    "lookup_count": (_COUNTS, [(np.array([[3, 0, 7, 7], [1, 2, 9, -5]], np.int64),)]),
    "lookup_one_hot": (_HOT, [(np.array([3, 0, 7, 9, -5], np.int64),)]),
    "unique": (lambda a: tf.unique(tf.reshape(a, [-1])), _WORDS),
    "sequence_mask": (lambda a: tf.sequence_mask(a, 6), _SIGNED),
    "sequence_mask_open": (lambda a: tf.sequence_mask(a[:, 0]), _WORDS),
    "sparse_to_dense": (lambda a: tf.sparse.to_dense(_SPARSE) + a[0, 0], _LISTS),
    "ragged_to_dense": (
        lambda a: tf.RaggedTensor.from_row_splits(a, [0, 2, 2, 6]).to_tensor(-1.0),
        [(_rows(6, 4),)],
    ),
    "in_top_k_of_no_class": (
        lambda a, b: tf.math.in_top_k(b, a, 2),
        [(_rows(5, 4), np.array([-1, 0, 3, 4, 9], np.int32))],
    ),
    # Loops and choices.
    "map": (lambda a: tf.map_fn(lambda row: row * row[0], a), _LISTS),
    "scan": (lambda a: tf.scan(lambda total, row: total + row, a), _LISTS),
    "fold": (lambda a: tf.foldl(lambda total, row: total * 0.5 + row, a), _LISTS),
    "cond": (lambda a: tf.cond(tf.reduce_sum(a) > 0, lambda: a + 1, lambda: a - 1), _LISTS),
}

QUICK = [
    "in_top_k_of_no_class",
    "diag_-1",
    "diag_of_sizes",
    "diag_band",
    "set_diag_1",
    "set_diag_wide",
    "eye",
    "repeat",
    "tensor_array_concat",
    "slice_update",
    "slice_update_fixed",
    "strided_new_axis",
    "invert_permutation",
    "matmul_int_batched",
    "matmul_sparse",
    "complex_einsum",
    "complex_einsum_modes",
    "complex_adjoint",
    "complex_matmul_adjoint",
    "lookup_multi_hot",
    "lookup_count",
    "one_hot_huge",
    "bincount_huge",
]
