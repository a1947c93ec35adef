"""Loops that write into a TensorArray, which tf2onnx reads only in their plainest form.

A `Loop` of ONNX appends what each turn writes. tf2onnx takes every loop for one that starts with an empty
array and writes upwards: it refuses `tf.scan` without an initializer, which writes the first element before
the loop, and returns the rows of `tf.scan(reverse=True)` in the wrong order, without a warning.
TimeDistributed over any number of steps takes one step in each turn of a vectorised loop; all turns are a
single `Gather`, which TensorRT takes, too.
"""

from __future__ import annotations

import re
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import static_value

_LOOPS = ("While", "StatelessWhile")
_VECTORISED = re.compile(r"/pfor/while(_\d+)?$")
_SINGLE_INDEX = {
    "shrink_axis_mask": 1, "begin_mask": 0, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0,
}  # fmt: skip


@rewrites("TensorListStack")
def stacked(site: Site) -> list[Any] | None:
    """Return the rows that a loop wrote, in their order."""
    loop = site.op.inputs[0].op
    body, write = _body_and_write(site)
    if write is None or _VECTORISED.search(loop.name):
        return None
    return _ordered(site, _counts_down(body, write))


def steps_at_once(site: Site) -> list[Any] | None:
    """Return `x[i]` of all i at once, if the loop of a vectorised map does nothing else."""
    loop = site.op.inputs[0].op
    body, write = _body_and_write(site)
    if write is None or not _VECTORISED.search(loop.name):
        return None
    return _gathered_steps(loop, body, write)


def _body_and_write(site: Site) -> tuple[Any, Any]:
    """Return the body of the loop whose rows are stacked, and the operation that writes them, or None."""
    loop, place = site.op.inputs[0].op, site.op.inputs[0].value_index
    if loop.type not in _LOOPS:
        return None, None
    body = function_named(loop.graph, loop.get_attr("body").name)
    write = origin(body.outputs[place]).op
    return body, write if write.type == "TensorListSetItem" else None


def function_named(graph: Any, name: str) -> Any:
    """Return the function `name`, which `graph` calls, as a graph."""
    while name not in graph._functions:  # noqa: SLF001 (as tf2onnx finds them)
        graph = graph.outer_graph
    return function_def_to_graph(graph._functions[name].definition)  # noqa: SLF001


def origin(tensor: Any) -> Any:
    """Return the tensor of which `tensor` is an identity."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor


def _gathered_steps(loop: Any, body: Any, write: Any) -> list[Any] | None:
    slicing = origin(write.inputs[2]).op
    if slicing.type != "StridedSlice" or any(
        slicing.get_attr(key) != mask for key, mask in _SINGLE_INDEX.items()
    ):
        return None
    row = slicing.inputs[1].op
    if row.type != "StridedSlice":
        return None
    outside = {inner.name: outer for inner, outer in zip(body.inputs, loop.inputs, strict=True)}
    x, indices = (outside.get(tensor.name) for tensor in (slicing.inputs[0], row.inputs[0]))
    if x is None or indices is None or indices.shape.rank != 2 or indices.shape[1] != 1:  # noqa: PLR2004
        return None
    return [tf.gather(x, indices[:, 0])]


def _counts_down(body: Any, write: Any) -> bool:
    """Return whether each turn of the loop writes the row before that of the previous turn."""
    index = origin(write.inputs[1])
    turn = next((number for number, tensor in enumerate(body.inputs) if tensor is index), None)
    step = None if turn is None else origin(body.outputs[turn]).op
    if step is None or step.type not in ("Sub", "Add", "AddV2") or origin(step.inputs[0]) is not index:
        return False
    change = static_value(step.inputs[1])
    return change is not None and int(change) == (1 if step.type == "Sub" else -1)


def _ordered(site: Site, backwards: bool) -> list[Any] | None:  # noqa: FBT001
    """Return the rows from before the loop, then the loop's; all reversed if the loop counts down."""
    loop, place = site.op.inputs[0].op, site.op.inputs[0].value_index
    empty, first = loop.inputs[place], None
    if empty.op.type == "TensorListSetItem":
        index = static_value(empty.op.inputs[1])
        if not backwards and (index is None or int(index) != 0):
            return None
        empty, first = empty.op.inputs[0], empty.op.inputs[2]
    if empty.op.type != "TensorListReserve" or not (backwards or first is not None):
        return None
    loop._update_input(place, empty)  # noqa: SLF001 (TensorFlow has no public way)
    kind = site.attr("element_dtype")
    rows = tf.raw_ops.TensorListStack(
        input_handle=site.op.inputs[0], element_shape=site.inputs[1], element_dtype=kind
    )
    if first is not None:
        rows = tf.concat([first[None], rows], 0)
    rows = tf.reverse(rows, [0]) if backwards else tf.identity(rows)
    rows.set_shape(site.op.outputs[0].shape)
    return [rows]
