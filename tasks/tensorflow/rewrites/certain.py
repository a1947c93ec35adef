"""Which numbers in shape arithmetic are the same for all sizes of the unknown dimensions.

Trying sizes proves nothing: `h // w` is 1 if both get the same size, `h % 2` is 1 for two odd sizes, and
`min(h, 50)` is 50 for all large sizes. So each number is followed through the graph as a sum of unknown
sizes with factors, of which only the factors are kept: `[h, 3][1]` and `(h + 3) - h` have none left, so they
are certain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

_Factors: TypeAlias = Mapping[str, int]
_CERTAIN: _Factors = {}

_ARRANGES = {
    **dict.fromkeys(
        ("ExpandDims", "GatherV2", "Identity", "Reshape", "ReverseV2", "Slice", "SplitV", "Squeeze",
         "StopGradient", "StridedSlice", "Tile", "Transpose", "Unpack"),
        slice(1),
    ),
    "ConcatV2": slice(-1),
    "Pack": slice(None),
    "Split": slice(1, 2),
}  # fmt: skip
"""Operations that only arrange elements, and which of their inputs these are taken from."""
_EACH_ALONE = frozenset(
    {"Abs", "Add", "AddV2", "Cast", "Ceil", "Equal", "Floor", "FloorDiv", "FloorMod", "Greater",
     "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalNot", "LogicalOr", "Maximum", "Minimum",
     "Mul", "Neg", "NotEqual", "RealDiv", "Round", "SelectV2", "Sign", "Sub", "TruncateDiv", "TruncateMod"}
)  # fmt: skip
"""Operations that compute each element of the result from one element of each input."""


_ANY_SIZE = 61


@dataclass(frozen=True, slots=True)
class _Elements:
    """The elements if each unknown size is `_ANY_SIZE`, and the factors of these sizes in each of them."""

    values: Any
    factors: Sequence[_Factors]

    @property
    def are_certain(self) -> bool:
        return not any(self.factors)

    def broadcast(self, shape: tuple[int, ...]) -> list[_Factors]:
        return [self.factors[place] for place in np.broadcast_to(self.places(), shape).reshape(-1)]

    def places(self, first: int = 0) -> Any:
        """Return numbers from `first` on in place of the elements."""
        return np.arange(first, first + len(self.factors)).reshape(self.values.shape)


def certain_value(tensor: Any) -> Any:
    """Return the value of `tensor`; None if it is unknown, or depends on unknown sizes."""
    elements = _Walk().elements(tensor)
    return elements.values if elements is not None and elements.are_certain else None


class _Walk:
    """A walk over the operations before a tensor, which reads each of them once."""

    def __init__(self) -> None:
        self._seen: dict[str, _Elements | None] = {}

    def elements(self, tensor: Any) -> _Elements | None:
        if tensor.name not in self._seen:
            self._seen[tensor.name] = None  # if a loop leads back here
            self._seen[tensor.name] = self._read(tensor)
        return self._seen[tensor.name]

    def _read(self, tensor: Any) -> _Elements | None:
        op = tensor.op
        if op.type == "Shape":
            return _sizes(op.inputs[0], tensor.dtype)
        if op.type == "Const":
            value = _constant(tensor)
            return None if value is None else _Elements(value, [_CERTAIN] * value.size)
        if not op.inputs or op.op_def is None or op.op_def.is_stateful:
            return None
        inputs = list[_Elements]()
        for source in op.inputs:
            elements = self.elements(source)
            if elements is None:
                return None
            inputs.append(elements)
        return _result(tensor, inputs)


def _result(tensor: Any, inputs: Sequence[_Elements]) -> _Elements | None:
    kind = tensor.op.type
    if all(elements.are_certain for elements in inputs):
        values = _run_alone(tensor, [elements.values for elements in inputs])
        return _Elements(values, [_CERTAIN] * values.size)
    if kind in _ARRANGES:
        return _arranged(tensor, inputs, _ARRANGES[kind])
    return _computed(tensor, inputs) if kind in _EACH_ALONE else None


def _arranged(tensor: Any, inputs: Sequence[_Elements], taken: slice) -> _Elements | None:
    """Let the operation arrange numbers that count the elements."""
    given, factors = [elements.values for elements in inputs], list[_Factors]()
    chosen = range(len(inputs))[taken]
    others = (elements for index, elements in enumerate(inputs) if index not in chosen)
    if tensor.dtype.is_bool or not all(elements.are_certain for elements in others):
        return None  # booleans count nothing
    for index in chosen:
        given[index] = inputs[index].places(len(factors)).astype(inputs[index].values.dtype)
        factors += inputs[index].factors
    places = _run_alone(tensor, given)
    values = _run_alone(tensor, [elements.values for elements in inputs])
    return _Elements(values, [factors[int(place)] for place in places.reshape(-1)])


def _computed(tensor: Any, inputs: Sequence[_Elements]) -> _Elements:
    values = _run_alone(tensor, [elements.values for elements in inputs])
    rows = zip(*(elements.broadcast(values.shape) for elements in inputs), strict=True)
    scales = _scales(tensor, inputs, values.shape)
    factors: list[_Factors] = []
    for place, row in enumerate(rows):
        if not any(row):
            factors.append(_CERTAIN)
        elif scales is None:
            factors.append({f"{tensor.name}[{place}]": 1})
        else:
            factors.append(_sum(row, [scale[place] for scale in scales]))
    return _Elements(values, factors)


def _scales(tensor: Any, inputs: Sequence[_Elements], shape: tuple[int, ...]) -> list[Any] | None:
    """Return by what each input is multiplied before the sum; None if the operation is no such sum."""
    if not all(source.dtype.is_integer for source in (tensor, *tensor.op.inputs)):
        return None
    if tensor.op.type == "Mul":
        constant = next((elements for elements in inputs if elements.are_certain), None)
        return None if constant is None else [np.broadcast_to(constant.values, shape).reshape(-1)] * 2
    signs = {"Add": (1, 1), "AddV2": (1, 1), "Sub": (1, -1), "Neg": (-1,), "Cast": (1,)}.get(tensor.op.type)
    return None if signs is None else [np.full(int(np.prod(shape)), sign) for sign in signs]


def _run_alone(tensor: Any, inputs: Sequence[Any]) -> Any:
    """Return what the operation of `tensor` makes of `inputs`."""
    op = tensor.op
    attributes = {name: value for name, value in op.node_def.attr.items() if not name.startswith("_")}
    with tf.Graph().as_default() as graph, tf.device("/cpu:0"), tf.compat.v1.Session() as session:
        given = [tf.constant(value) for value in inputs]
        kinds = [output.dtype for output in op.outputs]
        copied = graph.create_op(op.type, given, kinds, attrs=attributes, compute_device=False)
        return np.asarray(session.run(copied.outputs[tensor.value_index]))


def _constant(tensor: Any) -> Any:
    try:
        return tf.get_static_value(tensor)
    except ValueError:  # the constant's bytes were removed
        return None


def _sizes(tensor: Any, dtype: Any) -> _Elements | None:
    if tensor.shape.rank is None:
        return None
    dims = tensor.shape.as_list()
    values = np.array([_ANY_SIZE if size is None else size for size in dims], dtype.as_numpy_dtype)
    factors = [{f"{tensor.name}[{axis}]": 1} if size is None else _CERTAIN for axis, size in enumerate(dims)]
    return _Elements(values, factors)


def _sum(parts: Sequence[_Factors], scales: Sequence[Any]) -> _Factors:
    total: dict[str, int] = {}
    for part, scale in zip(parts, scales, strict=True):
        for name, factor in part.items():
            total[name] = total.get(name, 0) + factor * int(scale)
    return {name: factor for name, factor in total.items() if factor}
