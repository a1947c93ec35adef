"""`x[i]` and `x[:, i:i + 2]` with an index computed from data become `Gather` (tensorflow-onnx #2081).

tf2onnx writes a `Slice` from i to i + 1, whose size TensorRT treats as dependent on data. Inside a loop it
refuses data-dependent sizes, and recurrences written by hand index by the loop counter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Pair, Site, rewrites
from tasks.tensorflow.rewrites.values import follows_from_shapes, static_value


@dataclass(frozen=True, slots=True)
class _Pick:
    """Consecutive lines of an axis, from a computed index on.

    Attributes:
        place: the index of their entry in the slice.
        first: the index of the first line.
        width: the number of lines; None for a single line without its axis.
    """

    place: int
    first: Any
    width: int | None


@rewrites("StridedSlice")
def indexed(site: Site) -> list[Any] | None:
    """Return the constant part of the slice, and then a gather for each computed index."""
    x, strides = site.inputs[0], static_value(site.inputs[3])
    if isinstance(x, Pair) or x.shape.rank is None or strides is None:
        return None
    begin, end = _parts(site.inputs[1]), _parts(site.inputs[2])
    picks = _picks(site, begin, end, strides)
    if not picks:
        return None
    chosen = sum(1 << pick.place for pick in picks)
    masks = {name: site.attr(name) for name in ("ellipsis_mask", "new_axis_mask")}
    result = tf.raw_ops.StridedSlice(
        input=x,
        begin=_joined([0 if chosen >> place & 1 else part for place, part in enumerate(begin)]),
        end=_joined([0 if chosen >> place & 1 else part for place, part in enumerate(end)]),
        strides=strides,
        begin_mask=site.attr("begin_mask") | chosen,
        end_mask=site.attr("end_mask") | chosen,
        shrink_axis_mask=site.attr("shrink_axis_mask") & ~chosen,
        **masks,
    )
    for pick in reversed(picks):
        result = _gathered(result, _axis(site, pick.place, len(begin), x.shape.rank, chosen), pick)
    result.set_shape(site.op.outputs[0].shape)
    return [result]


@rewrites("Slice")
def sliced(site: Site) -> list[Any] | None:
    """Return the slice of constant sizes, with a gather for each computed start."""
    x, sizes = site.inputs[0], static_value(site.inputs[2])
    if isinstance(x, Pair) or x.shape.rank is None or sizes is None:
        return None
    begin = _parts(site.inputs[1])
    picks = [_Pick(place, part, int(sizes[place])) for place, part in enumerate(begin) if _is_computed(part)]
    if not picks or any(pick.width == -1 for pick in picks):
        return None
    chosen = {pick.place for pick in picks}
    result = tf.slice(
        x,
        _joined([0 if place in chosen else part for place, part in enumerate(begin)]),
        [-1 if place in chosen else int(size) for place, size in enumerate(sizes)],
    )
    for pick in picks:
        result = _gathered(result, pick.place, pick)
    return [result]


def _picks(site: Site, begin: list[Any], end: list[Any], strides: Any) -> list[_Pick]:
    shrunk, ignored = site.attr("shrink_axis_mask"), site.attr("begin_mask")
    ignored |= site.attr("ellipsis_mask") | site.attr("new_axis_mask")
    picks = []
    for place, part in enumerate(begin):
        if not _is_computed(part) or ignored >> place & 1 or strides[place] != 1:
            continue
        if shrunk >> place & 1:
            picks.append(_Pick(place, part, None))
        elif not site.attr("end_mask") >> place & 1 and (width := _width(site, part, end[place])):
            picks.append(_Pick(place, part, width))
    return picks


def _width(site: Site, first: Any, last: Any) -> int | None:
    """Return the distance from `first` to `last`, only in loops: there a slice always has the same size."""
    if not isinstance(site.op.graph, tf.__internal__.FuncGraph) or not _is_computed(last):
        return None
    if last.op.type not in ("Add", "AddV2"):
        return None
    sides = list(last.op.inputs)
    others = [side for side in sides if side is not first]
    width = static_value(others[0]) if len(others) == 1 else None
    return None if width is None or int(width) < 1 else int(width)


def _axis(site: Site, place: int, count: int, rank: int, chosen: int) -> int:
    """Return the axis of the constant part that the entry `place` selects from."""
    shrunk = site.attr("shrink_axis_mask") & ~chosen
    hidden = rank - (count - site.attr("new_axis_mask").bit_count() - 1)
    sizes = (
        hidden if site.attr("ellipsis_mask") >> before & 1 else 1 - (shrunk >> before & 1)
        for before in range(place)
    )
    return sum(sizes)


def _gathered(x: Any, axis: int, pick: _Pick) -> Any:
    first = tf.cast(pick.first, tf.int32)
    if pick.width is None:
        return tf.gather(x, tf.where(first < 0, first + tf.shape(x)[axis], first), axis=axis)
    return tf.gather(x, first + tf.range(pick.width), axis=axis)


def _parts(tensor: Any) -> list[Any]:
    """Return the numbers of a vector: integers if they are known, else scalar tensors."""
    value = static_value(tensor)
    if value is not None:
        return [int(number) for number in value]
    if tensor.op.type == "Pack" and tensor.shape.rank == 1:
        values = [static_value(part) for part in tensor.op.inputs]
        pairs = zip(tensor.op.inputs, values, strict=True)
        return [part if number is None else int(number) for part, number in pairs]
    return [] if tensor.shape.rank != 1 or tensor.shape[0] is None else tf.unstack(tensor)


def _is_computed(part: Any) -> bool:
    return not isinstance(part, int) and not follows_from_shapes(part)


def _joined(parts: list[Any]) -> Any:
    if all(isinstance(part, int) for part in parts):
        return tf.constant(parts, tf.int32)
    return tf.stack([tf.cast(part, tf.int32) for part in parts])
