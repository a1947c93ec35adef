"""Integers of 8 and 16 bits inside a graph are computed as FP32 or INT32, which hold them exactly.

TensorRT has UINT8 only as an input that is cast at once or an output that was just cast, INT8 only between
quantisations, and no INT16 or UINT16 at all. Models flip, crop, pad and join images before they cast them.
Inputs and outputs keep UINT8; those of the other types become INT32, and callers of an engine pass their
arrays as they are. `MatMulInteger`, which Keras writes for a quantised layer, becomes a product in FP32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_CARRIERS = {
    TensorProto.UINT8: TensorProto.FLOAT,
    TensorProto.INT8: TensorProto.FLOAT,
    TensorProto.INT16: TensorProto.INT32,
    TensorProto.UINT16: TensorProto.INT32,
}
# They move or compare numbers: the result is the same in every type that holds them.
_MOVES = frozenset({
    "Identity", "Reshape", "Transpose", "Slice", "Concat", "Gather", "GatherND", "GatherElements", "Squeeze",
    "Unsqueeze", "Split", "Pad", "Tile", "Expand", "Flatten", "Where", "Max", "Min", "Clip", "ReduceMax",
    "ReduceMin", "MaxPool", "Resize", "DepthToSpace", "SpaceToDepth", "ScatterND", "ScatterElements", "TopK",
    "ReverseSequence", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Shape", "Size", "ArgMax",
    "ArgMin", "Trilu", "Upsample",
})  # fmt: skip
_BOUNDS = frozenset({"Clip", "Max", "Min"})
_WRAPS = frozenset({"Add", "Sub", "Mul", "ReduceSum"})  # results above 255 wrap around to 0


def widen_narrow_integers(graph: onnx.GraphProto, type_of: Callable[[str], int | None]) -> None:
    """Let `graph` compute in FP32 or INT32 what it computes in narrow integers, in place.

    A type stays as it is if an operation cannot do without it, or if a loop or a branch reads it.

    Args:
        graph: as tf2onnx writes it, before shape inference.
        type_of: returns the element type of a tensor of the main graph by name; None if that is unknown.
    """
    for narrow, carrier in _CARRIERS.items():
        lift = _Lift(graph, narrow, carrier, type_of)
        if lift.is_needed() and lift.is_possible():
            lift.apply()


@dataclass(frozen=True, slots=True)
class _Lift:
    """One narrow type in a graph, and the type that carries its numbers instead."""

    graph: onnx.GraphProto
    narrow: int
    carrier: int
    type_of: Callable[[str], int | None]

    @property
    def border(self) -> int:
        """The type of inputs and outputs."""
        return self.narrow if self.narrow == TensorProto.UINT8 else TensorProto.INT32

    def is_needed(self) -> bool:
        """Return whether the type is used beyond inputs that are cast at once and outputs just cast."""
        outputs = {value.name for value in self.graph.output}
        if self.border != self.narrow:
            return any(map(self._is_narrow, self._names()))
        return any(
            any(self._is_narrow(name) and name not in outputs for name in node.output)
            or (any(map(self._is_narrow, node.input)) and node.op_type != "Cast")
            for node in self.graph.node
        )

    def is_possible(self) -> bool:
        """Return whether every operation on the type has the same numbers in the carrier."""
        return all(self._is_possible(node) for node in self.graph.node)

    def apply(self) -> None:
        """Rewrite the graph."""
        nodes = list(self.graph.node)
        del self.graph.node[:]
        inputs = {value.name for value in self.graph.input if self._is_narrow(value.name)}
        outputs = {value.name for value in self.graph.output if self._is_narrow(value.name)}
        renamed = {name: f"{name}/carried" for name in (*inputs, *outputs)}
        for name in sorted(inputs):
            self._cast(name, renamed[name], self.carrier)
        for value in (*self.graph.input, *self.graph.output):
            if value.name in renamed:
                value.type.tensor_type.elem_type = self.border
        constants = self._constants()
        for node in nodes:
            self._rewrite(node, renamed | constants)
        for name in sorted(outputs):
            self._cast(renamed[name], name, self.border)

    def _names(self) -> list[str]:
        values = (*self.graph.input, *self.graph.output)
        return [
            *(value.name for value in values),
            *(name for node in self.graph.node for name in node.output),
        ]

    def _is_narrow(self, name: str) -> bool:
        return bool(name) and self.type_of(name) == self.narrow

    def _is_possible(self, node: onnx.NodeProto) -> bool:
        if any(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute):
            return not any(map(self._is_narrow, (*_read_inside(node), *node.input, *node.output)))
        if not any(map(self._is_narrow, (*node.input, *node.output))):
            return True
        wraps = node.op_type in _WRAPS and self.narrow == TensorProto.UINT8
        product = node.op_type == "MatMulInteger" and all(map(self._is_zero, node.input[2:]))
        constant = node.op_type in ("Constant", "ConstantOfShape")
        return node.op_type in _MOVES | {"Cast"} or wraps or product or constant

    def _is_zero(self, name: str) -> bool:
        tensor = next((tensor for tensor in self.graph.initializer if tensor.name == name), None)
        return tensor is not None and not tensor.external_data and not numpy_helper.to_array(tensor).any()

    def _constants(self) -> dict[str, str]:
        """Cast the weights of the type; return their new names by their old names."""
        names = {}
        for tensor in self.graph.initializer:
            if tensor.data_type == self.narrow:
                names[tensor.name] = f"{tensor.name}/carried"
                self._cast(tensor.name, names[tensor.name], self.carrier)
        return names

    def _rewrite(self, node: onnx.NodeProto, renamed: Mapping[str, str]) -> None:
        touched = any(map(self._is_narrow, (*node.input, *node.output)))
        was_narrow = [self._is_narrow(name) for name in node.output]
        source = self.type_of(node.input[0]) if node.input else None
        node.input[:] = [renamed.get(name, name) if self._is_narrow(name) else name for name in node.input]
        node.output[:] = [renamed.get(name, name) if self._is_narrow(name) else name for name in node.output]
        if touched and node.op_type == "Cast" and was_narrow[0]:
            self._narrowed(node, source)
        elif touched and node.op_type == "MatMulInteger":
            result = node.output[0]
            node.op_type, node.output[0] = "MatMul", f"{result}/product"
            del node.input[2:]  # zero points, which are 0
            self.graph.node.append(node)
            self._cast(node.output[0], result, TensorProto.INT32)
        elif touched and node.op_type in _WRAPS:
            result = node.output[0]
            node.output[0] = f"{result}/unbounded"
            self.graph.node.append(node)
            self._wrapped(node.output[0], result)
        else:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == self.narrow:
                    array = numpy_helper.to_array(attribute.t)
                    dtype = helper.tensor_dtype_to_np_dtype(self.carrier)
                    attribute.t.CopyFrom(numpy_helper.from_array(array.astype(dtype), attribute.t.name))
            self.graph.node.append(node)

    def _narrowed(self, node: onnx.NodeProto, source: int | None) -> None:
        """Add what a cast to the narrow type does: it drops the fraction and wraps around."""
        (given,), (result,) = node.input, node.output
        if source in (self.narrow, TensorProto.BOOL):
            self._cast(given, result, self.carrier)
        elif any(maker.op_type in _BOUNDS and given in maker.output for maker in self.graph.node):
            self._cast(given, f"{result}/whole", TensorProto.INT32)
            self._cast(f"{result}/whole", result, self.carrier)
        else:
            self._wrapped(given, result)

    def _wrapped(self, given: str, result: str) -> None:
        """Add whole numbers wrapped into the narrow type: the number above the largest is the smallest."""
        bounds = np.iinfo(helper.tensor_dtype_to_np_dtype(self.narrow))
        lowest, count = int(bounds.min), int(bounds.max) - int(bounds.min) + 1
        self._cast(given, f"{result}/whole", TensorProto.INT32)
        self._computed("Sub", f"{result}/whole", lowest, f"{result}/from_0")
        self._computed("Mod", f"{result}/from_0", count, f"{result}/within")
        self._computed("Add", f"{result}/within", lowest, f"{result}/bounded")
        self._cast(f"{result}/bounded", result, self.carrier)

    def _computed(self, op: str, given: str, number: int, result: str) -> None:
        value = numpy_helper.from_array(np.array(number, np.int32))
        self.graph.node.append(helper.make_node("Constant", [], [f"{result}/number"], value=value))
        self.graph.node.append(helper.make_node(op, [given, f"{result}/number"], [result], name=result))

    def _cast(self, given: str, result: str, to: int) -> None:
        self.graph.node.append(helper.make_node("Cast", [given], [result], name=f"{result}/cast", to=to))


def _read_inside(node: onnx.NodeProto) -> set[str]:
    graphs = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    inner = [node for graph in graphs for node in graph.node]
    return {name for node in inner for name in (*node.input, *_read_inside(node))}
