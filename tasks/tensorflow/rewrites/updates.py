"""Replaced slices, repeated rows and inverted permutations, as gathers and selections.

`keras.ops.slice_update` (caches of keys and values) is an operation of XLA. `tf.repeat` by a list of numbers
searches a mask, which TensorRT-RTX cannot do even if the mask is constant. tf2onnx gives
`tf.math.invert_permutation` the wrong type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Pair, Site, refuse, rewrites
from tasks.tensorflow.rewrites.values import static_value

_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


@rewrites("XlaDynamicUpdateSlice")
def slice_update(site: Site) -> list[Any]:
    """Return the tensor with a part replaced; a part that would reach beyond it is moved inside."""
    tensor, part, starts = site.inputs
    if tensor.shape.rank is None:
        refuse(site)
    inside = tf.ones([1] * tensor.shape.rank, tf.bool)
    for axis in range(tensor.shape.rank):
        size, length = _size(tensor, axis), _size(part, axis)
        if isinstance(size, int) and size == length:
            continue
        first = tf.clip_by_value(tf.cast(starts[axis], tf.int32), 0, size - length)
        place = tf.range(size) - first
        part = tf.gather(part, tf.clip_by_value(place, 0, length - 1), axis=axis)
        along = [-1 if dim == axis else 1 for dim in range(tensor.shape.rank)]
        inside &= tf.reshape((place >= 0) & (place < length), along)
    return [tf.where(inside, part, tensor)]


@rewrites("GatherV2")
def repeated(site: Site) -> list[Any] | None:
    """Return the rows that `tf.repeat` chooses by a mask, if the numbers of repetitions are known."""
    rows, places = (tensor.op for tensor in site.inputs[:2])
    tiled = rows.inputs[0].op if rows.type == "Reshape" else None
    mask = _end_of_chain(places, "Squeeze", "Where", "Reshape", "Less")
    widened = tiled.inputs[0].op if tiled is not None and tiled.type == "Tile" else None
    if mask is None or widened is None or widened.type != "ExpandDims":
        return None
    counts = mask.inputs[1]
    while (
        counts.op.type in ("Cast", "ExpandDims", "BroadcastTo", "Identity") and static_value(counts) is None
    ):
        counts = counts.op.inputs[0]
    repeats, axis, tensor = static_value(counts), static_value(widened.inputs[1]), widened.inputs[0]
    if repeats is None or axis is None or tensor.shape.rank is None:
        return None
    axis = int(axis) % (tensor.shape.rank + 1) - 1
    size = tensor.shape[axis]
    if size is None or repeats.size not in (1, size):
        return None
    chosen = np.repeat(
        np.arange(size), repeats.reshape(-1) if repeats.size > 1 else int(repeats.reshape(-1)[0])
    )
    gathered = tf.gather(tensor, tf.constant(chosen, tf.int32), axis=axis)
    return [tf.reshape(gathered, tf.concat([[-1], tf.shape(gathered)[axis + 1 :]], 0))]


@rewrites("StridedSlice")
def without_new_axes(site: Site) -> list[Any] | None:
    """Return the slice, then its new axes: if there are both, tf2onnx mistakes the axes after `...`."""
    masks = {name: site.attr(name) for name in _MASKS}
    specs = site.inputs[1].shape.num_elements() if not isinstance(site.inputs[0], Pair) else None
    rank = None if specs is None else site.inputs[0].shape.rank
    if specs is None or rank is None or not masks["new_axis_mask"] or not masks["ellipsis_mask"]:
        return None
    kept = [place for place in range(specs) if not _has(masks["new_axis_mask"], place)]
    inner = {
        name: sum(1 << index for index, place in enumerate(kept) if _has(mask, place))
        for name, mask in masks.items()
    } | {"new_axis_mask": 0}
    bounds = (tf.gather(tensor, kept) for tensor in site.inputs[1:])
    result = tf.raw_ops.StridedSlice(
        **dict(zip(("input", "begin", "end", "strides"), (site.inputs[0], *bounds), strict=True)), **inner
    )
    axis = 0
    for place in range(specs):
        if _has(masks["ellipsis_mask"], place):
            axis += rank - (len(kept) - 1)
        elif _has(masks["new_axis_mask"], place):
            result = tf.expand_dims(result, axis)
            axis += 1
        elif not _has(masks["shrink_axis_mask"], place):
            axis += 1
    return [result]


def _has(mask: int, place: int) -> bool:
    return bool(mask >> place & 1)


@rewrites("InvertPermutation")
def inverted(site: Site) -> list[Any]:
    """Return the place of each number."""
    (places,) = site.inputs
    numbers = tf.range(tf.shape(places)[0])
    matches = tf.equal(tf.cast(places, tf.int32)[None, :], numbers[:, None])
    return [tf.cast(tf.reduce_sum(tf.where(matches, numbers[None, :], 0), 1), places.dtype)]


def _end_of_chain(op: Any, *kinds: str) -> Any:
    """Return the last operation of a chain of `kinds` that starts with `op`; None if the chain differs."""
    for kind in kinds[:-1]:
        if op.type != kind:
            return None
        op = op.inputs[0].op
    return op if op.type == kinds[-1] else None


def _size(tensor: Any, axis: int) -> Any:
    return tf.shape(tensor)[axis] if tensor.shape[axis] is None else int(tensor.shape[axis])
