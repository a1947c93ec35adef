"""Non-maximum suppression, as detectors end with it.

ONNX has one operation for it, which tf2onnx uses. What that lacks is written around it here, or refused.
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
    """Refuse soft suppression, which ONNX's operation silently ignores."""
    sigma = static_value(site.inputs[5])
    if sigma is None or sigma != 0:
        refuse(site)


@rewrites("CombinedNonMaxSuppression")
def boxes_by_class(site: Site) -> list[Any] | None:
    """Return suppression of boxes that each belong to one class, where every class has its own.

    ONNX and tf2onnx have boxes that the classes share. A box of class c is one whose scores for all other
    classes are below every threshold.
    """
    boxes, scores = site.inputs[:2]
    classes = boxes.shape[2]
    if classes is None or classes == 1:
        return None
    batch, number = tf.unstack(tf.shape(boxes)[:2], num=2)
    own = tf.where(tf.eye(classes, dtype=tf.bool), scores[..., None], -np.inf)
    one_class = tf.reshape(own, [batch, number * classes, classes])
    names = ("max_output_size_per_class", "max_total_size", "iou_threshold", "score_threshold")
    return list(
        tf.raw_ops.CombinedNonMaxSuppression(
            boxes=tf.reshape(boxes, [batch, number * classes, 1, 4]),
            scores=one_class,
            pad_per_class=site.attr("pad_per_class"),
            clip_boxes=site.attr("clip_boxes"),
            **dict(zip(names, site.inputs[2:], strict=True)),
        )
    )


def without_eyes(graph: onnx.GraphProto) -> None:
    """Replace identity matrices of sizes known at run time, in place: TensorRT refuses `EyeLike` there.

    tf2onnx writes one of the size of the batch for combined suppression. It is where rows equal columns.
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

    def made(op: str, inputs: list[str], what: str, **attributes: Any) -> onnx.NodeProto:
        name = f"{node.name}/{what}"
        return onnx.helper.make_node(op, inputs, [name], name=name, **attributes)

    def constant(what: str, value: int | list[int]) -> onnx.NodeProto:
        return made("Constant", [], what, value=onnx.numpy_helper.from_array(np.array(value, np.int64)))

    kind = zeros.attribute[0].t.data_type if zeros.attribute else onnx.TensorProto.FLOAT
    name = node.name
    yield from (constant("zero", 0), constant("one", 1))
    for axis, side in enumerate(("rows", "columns")):
        yield made("Gather", [zeros.input[0], f"{name}/{('zero', 'one')[axis]}"], f"number_of_{side}")
        yield made("Range", [f"{name}/zero", f"{name}/number_of_{side}", f"{name}/one"], f"each_of_{side}")
        axes = constant(f"axis_of_{side}", [1 - axis])
        yield axes
        yield made("Unsqueeze", [f"{name}/each_of_{side}", axes.output[0]], side)
    yield made("Equal", [f"{name}/rows", f"{name}/columns"], "equal")
    yield onnx.helper.make_node("Cast", [f"{name}/equal"], list(node.output), name=name, to=kind)
