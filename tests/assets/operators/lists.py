"""Cases for `tests.support.operators`: lists, ragged rows, and functions that are called twice."""

# TensorFlow has no types of its own.
# mypy: disable-error-code="misc,no-untyped-call,untyped-decorator"

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def _rows(*shape: int) -> Any:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


_LISTS = [(_rows(6, 4),), (_rows(3, 4),), (_rows(1, 4),)]
_SIX = [(_rows(6, 4),)]
_PLACES = [(_rows(6, 4), np.array([2, 0, 1], np.int32)), (_rows(6, 4), np.array([1], np.int32))]
_SPLITS = [
    (_rows(6, 4), np.array([0, 2, 2, 6], np.int64)),
    (_rows(3, 4), np.array([0, 3], np.int64)),
    (_rows(1, 4), np.array([0, 0, 0, 1, 1], np.int64)),
]


def _array(size: int, **options: Any) -> Any:
    return tf.TensorArray(tf.float32, size, clear_after_read=False, **options)


def _grown(a: Any) -> Any:
    array = tf.TensorArray(tf.float32, size=0, dynamic_size=True, element_shape=(None, 4))
    for place in range(3):
        array = array.write(place, a * float(place))
    return array.stack(), array.size()


def _with_gaps(a: Any) -> Any:
    array = _array(4, element_shape=(6, 4)).write(2, a * 2).scatter([3], (a + 1)[None])
    return array.stack(), array.read(1) + array.read(2)


def _unstacked(a: Any, b: Any) -> Any:
    array = _array(6).unstack(a)
    return array.read(4), array.read(b[0]), array.gather([5, 0]), array.gather(b), array.size()


def _joined(a: Any) -> Any:
    array = _array(2, infer_shape=False).write(1, a).write(0, a[:, :] * 2)
    return array.concat()


def _pushed(a: Any) -> Any:
    rows = tf.raw_ops.EmptyTensorList(element_shape=[4], max_num_elements=-1, element_dtype=tf.float32)
    for row in (a[0], a[-1] * 2):
        rows = tf.raw_ops.TensorListPushBack(input_handle=rows, tensor=row)
    return tf.raw_ops.TensorListStack(input_handle=rows, element_shape=[4], element_dtype=tf.float32)


def _after_a_loop(a: Any) -> Any:
    start = (0, _array(3, element_shape=(4,)))
    return tf.while_loop(
        lambda at, _: at < 3, lambda at, rows: (at + 1, rows.write(at, a[0] * tf.cast(at, tf.float32))), start
    )[1]


def _ragged(a: Any, splits: Any) -> Any:
    return tf.RaggedTensor.from_row_splits(a, splits, validate=False)


@tf.function
def _of_a_condition(a: Any, b: Any) -> Any:
    return tf.cond(tf.reduce_sum(a) > 0, lambda: a * b, lambda: a - b)


@tf.function
def _of_a_loop(a: Any) -> Any:
    return tf.while_loop(lambda at, _: at < 3, lambda at, b: (at + 1, _of_a_condition(b, 2.0)), (0, a))[1]


def _kept(a: Any, b: Any, *, padded: bool) -> Any:
    low, size = tf.split(tf.sigmoid(a) / 2, 2, axis=-1)
    boxes = tf.concat([low, low + size], -1)
    return tf.image.non_max_suppression_padded(boxes, b, 4, 0.4, pad_to_max_output_size=padded)


_BOXES = [(_rows(9, 4), _rows(9)), (_rows(5, 4), _rows(5))]

CASES: dict[str, Any] = {
    "array_grown": (_grown, _LISTS),
    "array_with_gaps": (_with_gaps, _SIX),
    "array_unstacked": (_unstacked, _PLACES),
    "array_joined": (_joined, _LISTS),
    "array_split": (lambda a: _array(2, infer_shape=False).split(a, [2, 4]).read(1), _SIX),
    "list_pushed": (_pushed, _LISTS),
    "array_written_by_input": (lambda a, b: _array(6, element_shape=(6, 4)).write(b[0], a).stack(), _PLACES),
    "array_read_after_a_loop": (lambda a: _after_a_loop(a).read(1), _LISTS),
    "array_gathered_after_a_loop": (lambda a: _after_a_loop(a).gather([2, 0]), _LISTS),
    "array_stacked_after_a_loop": (lambda a: _after_a_loop(a).stack()[1], _LISTS),
    "ragged_rows_by_input": (lambda a, b: tf.gather(_ragged(a, [0, 2, 2, 6]), b).to_tensor(), _PLACES),
    "ragged_rows_made_dense": (
        lambda a, b: tf.gather(_ragged(a, [0, 2, 2, 6]).to_tensor(shape=[None, 4, None]), b),
        _PLACES,
    ),
    "ragged_longest_unknown": (lambda a, b: _ragged(a, b).to_tensor(), _SPLITS),
    "ragged_longest": (lambda a, b: _ragged(a, b).to_tensor(-1.0, shape=[None, 3, 4]), _SPLITS),
    "ragged_ranges_made_dense": (
        lambda a: tf.where(tf.sequence_mask(a[:, 0], 5), tf.range(5), -1),
        [(np.array([[3], [0], [2]], np.int32),)],
    ),
    "condition_called_twice": (lambda a: _of_a_condition(a, 2.0) + _of_a_condition(a - 1, 3.0), _LISTS),
    "loop_called_twice": (lambda a: _of_a_loop(a) + _of_a_loop(a - 1), _LISTS),
    "suppression_padded_twice": (
        lambda a, b: (*_kept(a, b, padded=True), *_kept(a, -b, padded=True)),
        _BOXES,
    ),
    "suppression_not_padded": (lambda a, b: _kept(a, b, padded=False), _BOXES),
}

QUICK = [
    "condition_called_twice",
    "array_with_gaps",
    "array_unstacked",
    "ragged_longest",
    "suppression_padded_twice",
]
