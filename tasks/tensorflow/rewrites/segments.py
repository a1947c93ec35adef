"""Sums, means and extremes of segments, as layers of graph networks aggregate messages.

tf2onnx writes them with `Unique`, which TensorRT lacks. Here membership of a segment is a comparison. Its
size must follow from shapes, and so must the number of segments.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, refuse, rewrites
from tasks.tensorflow.rewrites.scatters import largest, products, smallest, sums
from tasks.tensorflow.rewrites.values import follows_from_shapes, static_value

_WAYS = {"Prod": products, "Max": largest, "Min": smallest}


@rewrites("UnsortedSegmentSum", "UnsortedSegmentProd", "UnsortedSegmentMax", "UnsortedSegmentMin",
          "SegmentSumV2", "SegmentProdV2", "SegmentMaxV2", "SegmentMinV2")  # fmt: skip
def of_given_number(site: Site) -> list[Any]:
    """Return the result of each segment; rows of segments below 0 belong to no segment."""
    data, segments, number = site.inputs
    if not follows_from_shapes(number) or data.dtype.is_complex:
        refuse(site)
    count = static_value(number)
    return [_combined(site, data, segments, tf.cast(number, tf.int32) if count is None else int(count))]


@rewrites("SegmentSum", "SegmentProd", "SegmentMax", "SegmentMin", "SegmentMean")
def of_constant_segments(site: Site) -> list[Any]:
    """Return the same for as many segments as the constant indices name; 0 or 1 for empty segments."""
    data, segments = site.inputs
    indices = static_value(segments)
    if indices is None or not indices.size or data.dtype.is_complex:
        refuse(site)
    count = int(indices.max()) + 1
    combined = _combined(site, data, segments, count)
    member_counts = [int((indices == segment).sum()) for segment in range(count)]
    shape = [count] + [1] * (data.shape.rank - 1)
    if site.op.type == "SegmentMean":
        combined /= tf.constant([max(members, 1) for members in member_counts], data.dtype, shape)
    elif site.op.type in ("SegmentMax", "SegmentMin") and not all(member_counts):
        present = tf.constant([members > 0 for members in member_counts], tf.bool, shape)
        combined = tf.where(present, combined, tf.zeros((), data.dtype))
    return [combined]


@rewrites("SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN", "SparseSegmentSumWithNumSegments",
          "SparseSegmentMeanWithNumSegments", "SparseSegmentSqrtNWithNumSegments")  # fmt: skip
def of_chosen_rows(site: Site) -> list[Any]:
    """Return the sums of chosen rows, over their number or the root of it; 0 for segments without rows."""
    data, rows, segments, *number = site.inputs
    constant = static_value(number[0] if number else segments)
    if constant is None and not (number and follows_from_shapes(number[0])):
        refuse(site)
    more = 0 if number else 1
    count = tf.cast(number[0], tf.int32) if constant is None else int(constant.max()) + more
    total = _combined(site, tf.gather(data, rows), segments, count)
    if "Sum" in site.op.type.removesuffix("WithNumSegments"):
        return [total]
    matches = tf.equal(tf.range(count)[:, None], tf.cast(segments, tf.int32)[None, :])
    members = tf.maximum(tf.reduce_sum(tf.cast(matches, data.dtype), 1), 1)
    members = members if "Mean" in site.op.type else tf.sqrt(members)
    return [total / tf.reshape(members, [-1] + [1] * (data.shape.rank - 1))]


def _combined(site: Site, data: Any, segments: Any, count: Any) -> Any:
    if segments.shape.rank is None or data.shape.rank is None:
        refuse(site)
    inner = data.shape[segments.shape.rank :]
    size = -1 if inner.num_elements() is None else inner.num_elements()
    rows = tf.reshape(data, [tf.size(segments), size])
    places = tf.cast(tf.reshape(segments, [-1]), tf.int32)
    combine = next((way for kind, way in _WAYS.items() if kind in site.op.type), sums)
    combined = combine(tf.range(count), places, rows)
    rest = tf.shape(data)[segments.shape.rank :] if size == -1 else tf.constant(inner.as_list(), tf.int32)
    result = tf.reshape(combined, tf.concat([tf.reshape(count, [1]), rest], 0))
    result.set_shape(site.op.outputs[0].shape)
    return result
