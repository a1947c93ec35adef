"""Non-maximum suppression, the last step of detectors.

ONNX has one operation for it, which tf2onnx uses. What it lacks is added around it here, or refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, refuse, rewrites
from tasks.tensorflow.rewrites.values import static_value


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
