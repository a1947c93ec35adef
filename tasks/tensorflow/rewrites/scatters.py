"""Scattered sums become products with a matrix of places: TensorFlow adds up rows that go to the same place.

ONNX's ScatterND overwrites, and tf2onnx writes it for `tf.scatter_nd`: confusion matrices, histograms, voxel
grids and messages along edges were wrong as soon as two rows shared a place. Its attribute
`reduction` could add, but TensorRT does not support it: TensorRT 10 refuses it.

If there are few places, rows are summed by comparison with each place. If there are many, rows of the same
place are first summed among themselves; then it does not matter which of them is written last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.reductions import with_nan
from tasks.tensorflow.rewrites.rules import Site, refuse, rewrites
from tasks.tensorflow.rewrites.values import static_value

_FEW_PLACES = 4096


@rewrites("ScatterNd")
def scatter_nd(site: Site) -> list[Any]:
    """Return the sum of the rows that go to each place, and zeros elsewhere."""
    indices, updates, shape = site.inputs
    return [_scattered(site, indices, updates, shape)]


@rewrites("TensorScatterAdd", "TensorScatterSub")
def scatter_add(site: Site) -> list[Any]:
    """Return the tensor with the scattered rows added or subtracted."""
    tensor, indices, updates = site.inputs
    sums = _scattered(site, indices, updates, tf.shape(tensor))
    return [tensor + sums if site.op.type == "TensorScatterAdd" else tensor - sums]


@rewrites("TensorScatterMax", "TensorScatterMin")
def scatter_extreme(site: Site) -> list[Any]:
    """Return at each place the largest (or smallest) of the tensor's value and those scattered to it."""
    tensor, indices, updates = site.inputs
    depth = _depth(site, indices)
    above = site.op.type == "TensorScatterMax"
    if not _are_distinct(indices):
        updates = _combined_by_place(
            indices, updates, tf.shape(tensor), depth, largest if above else smallest
        )
    choose = tf.maximum if above else tf.minimum
    chosen = choose(tf.gather_nd(tensor, indices), updates)
    return [tf.tensor_scatter_nd_update(tensor, indices, chosen)]


def _scattered(site: Site, indices: Any, updates: Any, shape: Any) -> Any:
    depth, size = _depth(site, indices), static_value(shape)
    if updates.dtype.is_bool or updates.dtype.is_complex:
        refuse(site)
    if not _are_distinct(indices):
        if size is not None and size.size and np.prod(size[:depth]) <= _FEW_PLACES:
            places = tf.range(int(np.prod(size[:depth])))
            rows = sums(places, _places(indices, shape, depth), _rows(indices, updates))
            return tf.reshape(rows, shape)
        updates = _combined_by_place(indices, updates, shape, depth, sums)
    return tf.tensor_scatter_nd_update(tf.zeros(shape, updates.dtype), indices, updates)


def _combined_by_place(
    indices: Any, updates: Any, shape: Any, depth: int, combine: Callable[[Any, Any, Any], Any]
) -> Any:
    """Return `updates` with rows of the same place combined, in each of these rows."""
    places = _places(indices, shape, depth)
    return tf.reshape(combine(places, places, _rows(indices, updates)), tf.shape(updates))


def sums(targets: Any, places: Any, rows: Any) -> Any:
    """Return for each of `targets` the sum of the `rows` whose entry of `places` equals it."""
    if not rows.dtype.is_floating or rows.shape[1] == 1:
        return _reduced(targets, places, rows, tf.reduce_sum, 0)
    matches = tf.cast(tf.equal(targets[:, None], places[None, :]), rows.dtype)
    zero, infinity = tf.zeros((), rows.dtype), tf.constant(np.inf, rows.dtype)
    # A product with 0 would spread infinity and NaN to all places: they are counted by themselves.
    finite = tf.abs(rows) < infinity
    positive, negative = (tf.cast(tf.equal(rows, end), rows.dtype) for end in (infinity, -infinity))
    sign, count = tf.matmul(matches, positive - negative), tf.matmul(matches, 1 - tf.cast(finite, rows.dtype))
    not_a_number = tf.where(tf.equal(sign, -count), -infinity, tf.constant(np.nan, rows.dtype))
    beyond = tf.where(tf.equal(sign, count), infinity, not_a_number)
    return tf.where(tf.equal(count, zero), tf.matmul(matches, tf.where(finite, rows, zero)), beyond)


def products(targets: Any, places: Any, rows: Any) -> Any:
    """Return the products in the same way; 1 without rows."""
    return _reduced(targets, places, rows, tf.reduce_prod, 1)


def largest(targets: Any, places: Any, rows: Any) -> Any:
    """Return the largest in the same way; the smallest number without rows."""
    return tf.maximum(_reduced(targets, places, rows, tf.reduce_max, rows.dtype.min), rows.dtype.min)


def smallest(targets: Any, places: Any, rows: Any) -> Any:
    """Return the smallest in the same way; the largest number without rows."""
    return tf.minimum(_reduced(targets, places, rows, tf.reduce_min, rows.dtype.max), rows.dtype.max)


def _reduced(targets: Any, places: Any, rows: Any, reduce: Callable[..., Any], nothing: Any) -> Any:
    matches = tf.equal(targets[:, None], places[None, :])
    chosen = tf.where(matches[..., None], rows[None], tf.constant(nothing, rows.dtype))
    if rows.dtype.is_floating and reduce in (tf.reduce_max, tf.reduce_min):
        return with_nan(reduce, chosen, 1)
    return reduce(chosen, 1)


def _depth(site: Site, indices: Any) -> int:
    depth = indices.shape[-1] if indices.shape.rank else None
    return refuse(site) if depth is None else int(depth)


def _are_distinct(indices: Any) -> bool:
    """Return whether it is certain that no two rows go to the same place."""
    value = static_value(indices)
    if value is None:
        return bool(indices.shape.rank == 1 or (indices.shape[:-1].num_elements() or 0) == 1)
    flat = value.reshape(-1, value.shape[-1])
    return len(np.unique(flat, axis=0)) == len(flat)


def _places(indices: Any, shape: Any, depth: int) -> Any:
    """Return each row of `indices` as one number."""
    rows = tf.reshape(indices, [-1, depth])
    if depth == 1:
        return tf.cast(rows[:, 0], tf.int32)
    sizes = tf.cast(shape, tf.int32)
    place = tf.cast(rows[:, 0], tf.int32)
    for axis in range(1, depth):
        place = place * sizes[axis] + tf.cast(rows[:, axis], tf.int32)
    return place


def _rows(indices: Any, updates: Any) -> Any:
    """Return `updates` as a matrix, a row for each place of `indices`."""
    if updates.shape.rank is not None and updates.shape.rank == (indices.shape.rank or 0) - 1:
        return tf.reshape(updates, [-1, 1])
    count = tf.reduce_prod(tf.shape(indices)[:-1])
    inner = updates.shape[(indices.shape.rank or 1) - 1 :].num_elements() if updates.shape.rank else None
    return tf.reshape(updates, [count, -1] if inner is None else [-1, inner])
