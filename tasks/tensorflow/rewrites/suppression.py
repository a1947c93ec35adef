"""Non-maximum suppression, the last step of detectors.

ONNX has one operation for it, which tf2onnx uses. What it lacks is added around it here, or refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import tensorflow as tf

from tasks.tensorflow.rewrites.loops import function_named
from tasks.tensorflow.rewrites.rules import Site, refuse, rewrites
from tasks.tensorflow.rewrites.values import static_value

_IMAGES_BOXES_SIDES = 3  # the rank of a batch of boxes
_TENSORFLOWS_EPSILON = 1e-8


@rewrites("NonMaxSuppressionV5")
def soft(site: Site) -> None:
    """Refuse soft suppression, which ONNX's operation silently leaves out."""
    sigma = static_value(site.inputs[5])
    if sigma is None or sigma != 0:
        refuse(site)


@rewrites("CombinedNonMaxSuppression")
def boxes_by_class(site: Site) -> list[Any] | None:
    """Return suppression in which every class has its own boxes.

    In ONNX and tf2onnx, the classes share all boxes. So the scores of a box of class c for all other classes
    are set below every threshold.
    """
    boxes, scores = site.inputs[:2]
    classes = boxes.shape[2]
    if classes is None or classes == 1:
        return None
    batch, number = tf.unstack(tf.shape(boxes)[:2], num=2)
    class_scores = tf.where(tf.eye(classes, dtype=tf.bool), scores[..., None], -np.inf)
    separate_scores = tf.reshape(class_scores, [batch, number * classes, classes])
    names = ("max_output_size_per_class", "max_total_size", "iou_threshold", "score_threshold")
    return list(
        tf.raw_ops.CombinedNonMaxSuppression(
            boxes=tf.reshape(boxes, [batch, number * classes, 1, 4]),
            scores=separate_scores,
            pad_per_class=site.attr("pad_per_class"),
            clip_boxes=site.attr("clip_boxes"),
            **dict(zip(names, site.inputs[2:], strict=True)),
        )
    )


def in_one_loop(site: Site) -> list[Any] | None:
    """Return the result of the loop in `tf.image.non_max_suppression_padded` by a loop without loops inside.

    TensorFlow goes through tiles of sorted boxes, and in each of them through those before; TensorRT-RTX
    cannot order loops in a loop. What greedy suppression keeps is also the fixed point of a rule for all
    boxes at once: a box stays if no box that stays is before it and overlaps it.
    """
    loop = site.op
    body = function_named(loop.graph, loop.get_attr("body").name)
    if not any("suppression_loop_body/" in op.name for op in body.get_operations()):
        return None
    place = next(index for index, value in enumerate(site.inputs) if value.shape.rank == _IMAGES_BOXES_SIDES)
    boxes, threshold = site.inputs[place], static_value(site.inputs[place + 1])
    if threshold is None or not threshold > 0:  # TensorFlow's tiles then differ in what they suppress
        return None
    kept = boxes * _kept(boxes, threshold, loop.name.replace("/", "_"))[..., None]
    count = tf.reduce_sum(tf.cast(tf.reduce_any(kept > 0, [2]), tf.int32), [1])
    results: list[Any] = [None] * len(loop.outputs)
    results[place], results[place + 2] = kept, count
    return results


def _kept(boxes: Any, threshold: Any, name: str) -> Any:
    """Return 1 for each of the sorted boxes that stays, and 0 for the others.

    In ONNX, what is in a loop must not have the name of anything outside, so it is named after `name`.
    """
    number = tf.shape(boxes)[1]
    order = tf.range(number)
    is_before = order[:, None] < order
    suppresses = tf.cast(is_before & (_overlaps(boxes) >= threshold), boxes.dtype)

    def step(_: Any, stays: Any) -> tuple[Any, Any]:
        with tf.name_scope(name):
            hits = tf.linalg.matvec(suppresses, stays, transpose_a=True)
            after = tf.cast(tf.equal(hits, 0), boxes.dtype)
            return tf.reduce_any(tf.not_equal(after, stays)), after

    everything = tf.ones_like(boxes[..., 0])
    return tf.while_loop(
        lambda changes, _: changes, step, [tf.constant(True), everything], maximum_iterations=number
    )[1]


def _overlaps(boxes: Any) -> Any:
    """Return the intersection over the union of every two boxes, as TensorFlow computes it."""
    top, left, bottom, right = tf.split(boxes, 4, axis=2)

    def common(low: Any, high: Any) -> Any:
        end, start = (tf.minimum(high, _flat(high)), tf.maximum(low, _flat(low)))
        return tf.maximum(end - start, 0)

    both = common(left, right) * common(top, bottom)
    area = (bottom - top) * (right - left)
    return both / (area + _flat(area) - both + _TENSORFLOWS_EPSILON)


def _flat(column: Any) -> Any:
    return tf.transpose(column, [0, 2, 1])


def replace_eye_like(graph: onnx.GraphProto) -> None:
    """Replace identity matrices of sizes known only at run time, in place: TensorRT refuses `EyeLike` there.

    tf2onnx writes an identity of the batch size for combined suppression. Here rows are compared to columns.
    """
    makers = {name: node for node in graph.node for name in node.output}
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        zeros = makers.get(node.input[0]) if node.op_type == "EyeLike" else None
        if zeros is None or zeros.op_type != "ConstantOfShape" or node.attribute:
            graph.node.append(node)
        else:
            graph.node.extend(_rows_equal_columns(node, zeros))


def _rows_equal_columns(node: onnx.NodeProto, zeros: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """Yield what makes the identity matrix `node`, of the type and size of the matrix that `zeros` makes."""

    def make(op: str, inputs: list[str], what: str, **attributes: Any) -> onnx.NodeProto:
        name = f"{node.name}/{what}"
        return onnx.helper.make_node(op, inputs, [name], name=name, **attributes)

    def constant(what: str, value: int | list[int]) -> onnx.NodeProto:
        return make("Constant", [], what, value=onnx.numpy_helper.from_array(np.array(value, np.int64)))

    kind = zeros.attribute[0].t.data_type if zeros.attribute else onnx.TensorProto.FLOAT
    name = node.name
    yield from (constant("zero", 0), constant("one", 1))
    for axis, side in enumerate(("rows", "columns")):
        yield make("Gather", [zeros.input[0], f"{name}/{('zero', 'one')[axis]}"], f"number_of_{side}")
        yield make("Range", [f"{name}/zero", f"{name}/number_of_{side}", f"{name}/one"], f"each_of_{side}")
        axes = constant(f"axis_of_{side}", [1 - axis])
        yield axes
        yield make("Unsqueeze", [f"{name}/each_of_{side}", axes.output[0]], side)
    yield make("Equal", [f"{name}/rows", f"{name}/columns"], "equal")
    yield onnx.helper.make_node("Cast", [f"{name}/equal"], list(node.output), name=name, to=kind)
