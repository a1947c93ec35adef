"""A TensorArray outside loops, whose elements are known one by one.

ONNX has no lists that TensorRT takes, and tf2onnx reads only those that a loop writes. If the number of
elements and the places that are written do not depend on values, reading and stacking need no list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.loops import origin
from tasks.tensorflow.rewrites.rules import Site, refuse, rewrites
from tasks.tensorflow.rewrites.values import static_value

_MADE_BY = ("TensorListReserve", "EmptyTensorList", "TensorListFromTensor", "TensorListScatterV2",
            "TensorListSplit")  # fmt: skip


@rewrites("TensorListStack")
def stack(site: Site) -> list[Any] | None:
    """Return all elements as the rows of a tensor."""
    return [_rows(site)] if _is_made_here(site) else None


@rewrites("TensorListGather")
def gather(site: Site) -> list[Any] | None:
    """Return some of the elements as the rows of a tensor."""
    return [tf.gather(_rows(site), site.inputs[1])] if _is_made_here(site) else None


@rewrites("TensorListGetItem")
def read(site: Site) -> list[Any] | None:
    """Return an element. What a loop's body reads, and what a loop wrote, is for tf2onnx."""
    if not _is_made_here(site):
        return None
    handle, place = origin(site.inputs[0]), static_value(site.inputs[1])
    if place is None or handle.op.type == "TensorListFromTensor":
        return [tf.gather(_rows(site), site.inputs[1])]
    elements = _filled(site)
    if not 0 <= place < len(elements):
        refuse(site)
    return [tf.identity(elements[int(place)])]


@rewrites("TensorListLength")
def length(site: Site) -> list[Any] | None:
    """Return the number of elements."""
    if not _is_made_here(site):
        return None
    maker = origin(site.inputs[0]).op
    if maker.type == "TensorListFromTensor":
        return [tf.shape(maker.inputs[0])[0]]
    return [tf.constant(len(_elements(site)))]


@rewrites("TensorListConcatV2")
def concatenate(site: Site) -> list[Any] | None:
    """Return all elements in one, and the length of each."""
    if not _is_made_here(site):
        return None
    parts = _elements(site)
    if not parts or any(part is None for part in parts):
        refuse(site)
    return [tf.concat(parts, 0), tf.stack([tf.shape(part, tf.int64)[0] for part in parts])]


def _is_made_here(site: Site) -> bool:
    """Return whether neither a loop nor a function's caller had a part in the list."""
    return _history(site.inputs[0])[0].type in _MADE_BY


def _history(handle: Any) -> tuple[Any, list[Any]]:
    """Return the operation that made a list, and those that wrote to it since, the first one first."""
    op, writes = origin(handle).op, []
    while op.type in _WRITES:
        writes.append(op)
        op = origin(op.inputs[0]).op
    return op, writes[::-1]


def _rows(site: Site) -> Any:
    maker, writes = _history(site.inputs[0])
    if maker.type == "TensorListFromTensor" and not writes:
        return tf.identity(maker.inputs[0])
    elements = _filled(site)
    if not elements or len({str(element.shape) for element in elements}) > 1:
        refuse(site)
    return tf.stack(elements)


def _filled(site: Site) -> list[Any]:
    """Return the elements, with zeros for those that nobody wrote, as TensorFlow has them."""
    elements = _elements(site)
    written = next((element for element in elements if element is not None), None)
    if written is None:
        refuse(site)
    return [tf.zeros_like(written) if element is None else element for element in elements]


def _elements(site: Site) -> list[Any]:
    """Return the elements, None for each that nobody wrote; refuse what depends on values."""
    maker, writes = _history(site.inputs[0])
    elements = _made(maker)
    for write in writes:
        elements = None if elements is None else _WRITES[write.type](elements, write)
    if elements is None or any(element is not None and element.dtype.is_complex for element in elements):
        refuse(site)
    return elements


def _made(op: Any) -> list[Any] | None:
    match op.type:
        case "EmptyTensorList":
            return []
        case "TensorListReserve":
            number = static_value(op.inputs[1])
            return None if number is None or number < 0 else [None] * int(number)
        case "TensorListFromTensor":
            return None if op.inputs[0].shape[0] is None else tf.unstack(op.inputs[0])
        case "TensorListScatterV2":
            number = static_value(op.inputs[3])
            return None if number is None else _scattered([None] * max(int(number), 0), op)
        case _:
            lengths = static_value(op.inputs[2])
            return None if lengths is None else tf.split(op.inputs[0], lengths.tolist())


def _set(elements: list[Any], op: Any) -> list[Any] | None:
    place = static_value(op.inputs[1])
    return None if place is None else _with(elements, {int(place): op.inputs[2]})


def _pushed(elements: list[Any], op: Any) -> list[Any]:
    return [*elements, op.inputs[1]]


def _scattered(elements: list[Any], op: Any) -> list[Any] | None:
    places = static_value(op.inputs[1 if op.type == "TensorListScatterV2" else 2])
    rows = op.inputs[0 if op.type == "TensorListScatterV2" else 1]
    if places is None:
        return None
    return _with(elements, dict(zip(places.tolist(), tf.unstack(rows, len(places)), strict=True)))


def _with(elements: list[Any], new: dict[int, Any]) -> list[Any] | None:
    """Return `elements` with those in `new`; the list grows if it must."""
    if any(place < 0 for place in new):
        return None
    size = max([len(elements), *(place + 1 for place in new)])
    kept = dict(enumerate(elements)) | new
    return [kept.get(place) for place in range(size)]


_WRITES: dict[str, Callable[[list[Any], Any], list[Any] | None]] = {
    "TensorListSetItem": _set,
    "TensorListPushBack": _pushed,
    "TensorListScatterIntoExistingList": _scattered,
}
