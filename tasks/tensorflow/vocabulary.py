"""Which numbers an input accepts, from the parsed `saved_model.pb`, without TensorFlow.

Ids select rows of a table, or become one-hot vectors. Each of these operations is traced back, through
operations that pass numbers on unchanged and through calls of functions, to an input of the signature and to
the size of the table. An input that reaches none of them has no limit here: a mask, for example, is compared
or multiplied. Integers that are divided, shifted or looked up in a table of keys may be any integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tasks.tensorflow.input_names import read_name

_MOST_CALLS = 2000
"""Further calls are left out: each function may be called from everywhere."""
_INT32 = 3
_INT_TYPES = {_INT32: np.int32, 9: np.int64}

# Pass their first input on: the same numbers, perhaps of another type or in another arrangement.
_SAME = {"Identity", "Cast", "StopGradient", "PreventGradient", "EnsureShape", "Snapshot", "ReadVariableOp"}
_REARRANGED = {
    "Reshape", "ExpandDims", "Squeeze", "Transpose", "StridedSlice", "Slice", "Pad", "Tile", "BroadcastTo",
    "SplitV", "Unpack", "ReverseV2", "Roll", "Gather", "GatherV2", "GatherNd", "ClipByValue",
}  # fmt: skip
# For other operations, which inputs are data.
_JOINED = {
    "Split": slice(1, 2), "Pack": slice(None), "ConcatV2": slice(-1), "SelectV2": slice(1, 3),
    "Select": slice(1, 3), "Maximum": slice(None), "Minimum": slice(None),
}  # fmt: skip
# Which functions a node calls, and from which of its inputs their arguments come.
_CALLS = {
    "PartitionedCall": (("f",), 0), "StatefulPartitionedCall": (("f",), 0),
    "If": (("then_branch", "else_branch"), 1), "StatelessIf": (("then_branch", "else_branch"), 1),
    "While": (("cond", "body"), 0), "StatelessWhile": (("cond", "body"), 0),
}  # fmt: skip
_LOOKUPS = {"Gather": 2, "ResourceGather": 2, "GatherV2": 3, "OneHot": 2}
"""Their least number of inputs."""
_DIVIDE = {
    "FloorDiv", "FloorMod", "TruncateDiv", "TruncateMod", "Mod", "Abs", "Neg", "Sign", "LeftShift",
    "RightShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Invert", "Bucketize", "LookupTableFindV2",
}  # fmt: skip
"""Their first data may be any integer. Divisors must not be zero, and shifts have a limit."""
_TABLES = ("LookupTableFindV2",)
_SIZES = {
    "Reshape": 1, "Fill": 0, "BroadcastTo": 1, "Tile": 1, "ResizeBilinear": 1, "ResizeNearestNeighbor": 1,
    "ResizeBicubic": 1, "ResizeArea": 1,
}  # fmt: skip
"""Which of their inputs is a size."""
_RETURNS = ("PartitionedCall", "StatefulPartitionedCall")


@dataclass(frozen=True, slots=True)
class _Value:
    """What is known of a tensor.

    Attributes:
        inputs: inputs of the signature whose numbers it holds.
        shape: of a weight; -1 for an unknown dimension, None if there is no shape.
        number: of a constant scalar.
    """

    inputs: frozenset[str] = frozenset()
    shape: tuple[int, ...] | None = None
    number: int | None = None


_UNKNOWN = _Value()


@dataclass(slots=True)
class _Frame:
    """The main graph, or one call of a function."""

    nodes: dict[str, Any]
    arguments: dict[str, _Value]
    returned: list[str]
    values: dict[str, _Value] = field(default_factory=dict)
    calls: dict[tuple[str, str], _Frame] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Uses:
    """What a signature does with the numbers of its inputs.

    Attributes:
        limits: the number of ids, by input that takes ids; they go from 0 to one less.
        divided: inputs that are divided, shifted and the like.
        sizes: inputs whose numbers are sizes of tensors.
    """

    limits: Mapping[str, int]
    divided: frozenset[str]
    sizes: frozenset[str] = frozenset()


def uses_of_inputs(graph: Any, signature: str) -> Uses:
    """Return what `signature` does with the numbers of its inputs.

    Args:
        graph: a parsed `MetaGraphDef`.
        signature: name of a signature in it.
    """
    inputs = graph.signature_def[signature].inputs
    arguments = {_name(inputs[key].name): _Value(frozenset({read_name(key)})) for key in inputs}
    main = _Frame({node.name: node for node in graph.graph_def.node}, arguments, [])
    try:
        return _Search(graph.graph_def.library).uses(main)
    except RecursionError:  # no exporter writes chains this long, and without a limit -1, 0 and 1 are drawn
        return Uses({}, frozenset())


class _Search:
    def __init__(self, library: Any) -> None:
        self._library = {function.signature.name: function for function in library.function}
        self._calls = 0

    def uses(self, main: _Frame) -> Uses:
        limits: dict[str, int] = {}
        divided: set[str] = set()
        sizes: set[str] = set()
        pending = [main]
        while pending:
            frame = pending.pop()
            for node in frame.nodes.values():
                indices, limit = self._lookup(frame, node)
                for key in indices.inputs if limit else ():
                    limits[key] = min(limit, limits.get(key, limit))
                divided |= self._divided(frame, node)
                sizes |= self._sizes(frame, node)
                pending += self._entered_calls(frame, node)
        return Uses(limits, frozenset(divided), frozenset(sizes))

    def _sizes(self, frame: _Frame, node: Any) -> frozenset[str]:
        data = _data(node)
        place = _SIZES.get(node.op, len(data))
        return self._value(frame, data[place]).inputs if place < len(data) else frozenset()

    def _divided(self, frame: _Frame, node: Any) -> frozenset[str]:
        if node.op not in _DIVIDE:
            return frozenset()
        data = _data(node)[1:2] if node.op in _TABLES else _data(node)[:1]
        return frozenset().union(*(self._value(frame, name).inputs for name in data))

    def _lookup(self, frame: _Frame, node: Any) -> tuple[_Value, int]:
        """Return the indices of a lookup, and the number of its rows; 0 if that is unknown."""
        if node.op not in _LOOKUPS or len(_data(node)) < _LOOKUPS[node.op]:
            return _UNKNOWN, 0
        first, second, *more = (self._value(frame, name) for name in _data(node))
        if node.op == "OneHot":
            return first, max(0, second.number or 0)
        axis = more[0].number if node.op == "GatherV2" else 0
        shape = first.shape or ()
        has_axis = axis is not None and -len(shape) <= axis < len(shape)
        return second, max(0, shape[axis]) if has_axis and axis is not None else 0

    def _entered_calls(self, frame: _Frame, node: Any) -> Iterator[_Frame]:
        """Yield the calls of `node` that get the numbers of an input."""
        attributes, first = _CALLS.get(node.op, ((), 0))
        if attributes and any(self._value(frame, name).inputs for name in _data(node)[first:]):
            for attribute in attributes:
                call = self._call(frame, node, attribute)
                if call is not None:
                    yield call

    def _call(self, frame: _Frame, node: Any, attribute: str) -> _Frame | None:
        key = (node.name, attribute)
        function = self._library.get(node.attr[attribute].func.name)
        if key not in frame.calls:
            if function is None or self._calls >= _MOST_CALLS:
                return None
            self._calls += 1
            arguments = (self._value(frame, name) for name in _data(node)[_CALLS[node.op][1] :])
            names = (argument.name for argument in function.signature.input_arg)
            frame.calls[key] = _Frame(
                {inner.name: inner for inner in function.node_def},
                dict(zip(names, arguments, strict=False)),
                [function.ret[output.name] for output in function.signature.output_arg],
            )
        return frame.calls[key]

    def _value(self, frame: _Frame, tensor: str) -> _Value:
        if tensor not in frame.values:
            frame.values[tensor] = _UNKNOWN  # ends cycles
            frame.values[tensor] = self._computed(frame, tensor)
        return frame.values[tensor]

    def _computed(self, frame: _Frame, tensor: str) -> _Value:
        name = _name(tensor)
        if name in frame.arguments:
            return frame.arguments[name]
        node = frame.nodes.get(name)
        if node is None:
            return _UNKNOWN
        if node.op in _RETURNS:
            call, index = self._call(frame, node, "f"), _output(tensor)
            is_returned = call is not None and index < len(call.returned)
            return self._value(call, call.returned[index]) if call is not None and is_returned else _UNKNOWN
        return _constant(node) or self._passed_on(frame, node)

    def _passed_on(self, frame: _Frame, node: Any) -> _Value:
        data = _data(node)
        if node.op in _SAME and data:
            return self._value(frame, data[0])
        sources = data[:1] if node.op in _REARRANGED else data[_JOINED.get(node.op, slice(0))]
        return _Value(frozenset().union(*(self._value(frame, name).inputs for name in sources)))


def _constant(node: Any) -> _Value | None:
    if node.op == "VarHandleOp":
        shape = node.attr["shape"].shape
        return _Value(shape=None if shape.unknown_rank else tuple(dim.size for dim in shape.dim))
    if node.op != "Const":
        return None
    tensor = node.attr["value"].tensor
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    return _Value(shape=shape, number=None if shape else _scalar(tensor))


def _scalar(tensor: Any) -> int | None:
    dtype = _INT_TYPES.get(tensor.dtype)
    if dtype is None:
        return None
    if len(tensor.tensor_content) == np.dtype(dtype).itemsize:
        return int(np.frombuffer(tensor.tensor_content, dtype)[0])
    values = tensor.int_val if tensor.dtype == _INT32 else tensor.int64_val
    return int(values[0]) if values else 0  # protobuf leaves out 0


def _data(node: Any) -> list[str]:
    return [name for name in node.input if not name.startswith("^")]


def _name(tensor: str) -> str:
    return tensor.removeprefix("^").split(":", 1)[0]


def _output(tensor: str) -> int:
    """Return the index of the output `tensor`, as in `call:1` or, in a function, `call:output:1`."""
    last = tensor.rsplit(":", 1)[-1]
    return int(last) if last.isdecimal() else 0


def drawable(limits: Mapping[str, int], name: str, dtype: np.dtype[Any]) -> int | None:
    """Return how many ids can be drawn for input `name`: those that exist and that `dtype` holds exactly."""
    limit = limits.get(name)
    if limit is None or dtype.kind not in "iuf":
        return None
    exact = 1 << (np.finfo(dtype).nmant + 1) if dtype.kind == "f" else int(np.iinfo(dtype).max) + 1
    return min(limit, exact)
