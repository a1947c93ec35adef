"""Loops that count up to a size get it as their trip limit.

To TensorFlow and tf2onnx, `for i in tf.range(n)` is only a condition. TensorRT cannot infer how many rows
such a loop writes ("no trip limit was set"). The limit is read from the comparisons in the condition. A limit
that the loop has already is lowered to it: TensorRT 8.6 returns as many rows as the limit allows, also if the
condition ends the loop before (`tf.scan` without an initializer).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.loops import function_named, origin
from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import follows_from_shapes, static_value

_UP = {"Less": 0, "LessEqual": 1}
_DOWN = {"Greater": 0, "GreaterEqual": 1}
_NO_LIMIT = -1
_LIMIT = 1  # its index among the inputs of a loop


@dataclass(frozen=True, slots=True)
class _Bound:
    """A loop ends when its turns, each of `step`, have covered `distance`, from `start` to `end`."""

    distance: Any
    step: int
    start: int | None
    end: Any


@rewrites("While", "StatelessWhile")
def with_a_trip_limit(site: Site) -> None:
    """Give the loop the least limit if its condition compares what it counts with sizes or constants."""
    loop = site.op
    if len(loop.inputs) <= _LIMIT or loop.inputs[_LIMIT].shape != ():
        return
    # Loops in loops become graphs in graphs, in which no two values may have the same name.
    with tf.name_scope(f"{loop.name}_limit/"):
        _lower(loop, loop.inputs[_LIMIT])


def _lower(loop: Any, given: Any) -> None:
    limits = [_turns(bound) for bound in _bounds(loop) if bound.end is not given or bound.start != 0]
    if limits:
        limited = static_value(given) is None or int(static_value(given)) != _NO_LIMIT
        loop._update_input(_LIMIT, _least([*limits, given] if limited else limits))  # noqa: SLF001 (no other way)


def _least(limits: list[Any]) -> Any:
    fixed = [int(value) for limit in limits if (value := static_value(limit)) is not None]
    open_limits = [limit for limit in limits if static_value(limit) is None]
    return reduce(tf.minimum, [*open_limits, *([tf.constant(min(fixed), tf.int32)] if fixed else [])])


def _turns(bound: _Bound) -> Any:
    fixed_distance = static_value(bound.distance)
    if fixed_distance is not None:
        return tf.constant(max(0, -(-int(fixed_distance) // bound.step)), tf.int32)
    distance = tf.cast(tf.maximum(bound.distance, 0), tf.int32)
    if bound.step == 1:
        return distance
    return tf.truncatediv(distance + (bound.step - 1), bound.step)


def _bounds(loop: Any) -> Iterator[_Bound]:
    condition = function_named(loop.graph, loop.get_attr("cond").name)
    body = function_named(loop.graph, loop.get_attr("body").name)
    pending = [condition.outputs[0]]
    while pending:
        compared = origin(pending.pop()).op
        if compared.type == "LogicalAnd":
            pending += compared.inputs
        elif compared.type in _UP | _DOWN:
            bound = _bound(loop, condition, body, compared)
            if bound is not None:
                yield bound


def _bound(loop: Any, condition: Any, body: Any, compared: Any) -> _Bound | None:
    counter, end = map(origin, compared.inputs)
    place = _input_index(condition, counter)
    step = None if place is None else _step(loop, body, place)
    last = _outside(loop, condition, body, end)
    if place is None or step is None or last is None or not last.dtype.is_integer:
        return None
    up = compared.type in _UP
    if (step > 0) != up or not all(map(follows_from_shapes, (loop.inputs[place], last))):
        return None
    first = loop.inputs[place]
    distance = last - first if up else first - last
    start = static_value(first)
    return _Bound(
        distance + (_UP | _DOWN)[compared.type], abs(step), None if start is None else int(start), last
    )


def _step(loop: Any, body: Any, place: int) -> int | None:
    """Return what each turn adds to the value at `place`; None if that is unknown or 0."""
    change = origin(body.outputs[place]).op
    if change.type not in ("Add", "AddV2", "Sub"):
        return None
    counter, *others = map(origin, change.inputs)
    if change.type != "Sub" and _input_index(body, counter) != place:
        counter, others = others[0], [counter]
    amount = _outside(loop, body, body, others[0])
    value = None if amount is None or _input_index(body, counter) != place else static_value(amount)
    if value is None or value.shape != () or not int(value):
        return None
    return -int(value) if change.type == "Sub" else int(value)


def _outside(loop: Any, function: Any, body: Any, tensor: Any) -> Any:
    """Return `tensor` of `function` as computed outside the loop; None if turns change it."""
    place = _input_index(function, tensor)
    if place is not None:
        return loop.inputs[place] if _input_index(body, origin(body.outputs[place])) == place else None
    op = tensor.op
    inputs = [_outside(loop, function, body, source) for source in op.inputs]
    if op.type == "Placeholder" or op.op_def is None or any(source is None for source in inputs):
        return None
    attributes = {name: value for name, value in op.node_def.attr.items() if not name.startswith("_")}
    if op.op_def.is_stateful or any(value.HasField("func") for value in attributes.values()):
        return None
    kinds = [output.dtype for output in op.outputs]
    copied = loop.graph.create_op(op.type, inputs, kinds, attrs=attributes, compute_device=False)
    return copied.outputs[tensor.value_index]


def _input_index(function: Any, tensor: Any) -> int | None:
    return next((number for number, value in enumerate(function.inputs) if value is tensor), None)
