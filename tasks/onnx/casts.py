"""FP16 and BF16 as casts in the graph: TensorRT 11 and TensorRT-RTX need them; older versions parse them.

Why not a library: on eight graphs that tf2onnx made from TensorFlow models (three of them trained),
`onnxruntime.transformers.float16` 1.32 has the same error as this module if its graph runs (fer 1.3e-3,
SpliceAI 2.2e-4, three attention blocks 7.8e-4), and TensorRT-RTX builds engines of nearly the same size.
But it leaves every graph unsorted, so that the checker refuses it; it gives a Resize by sizes a second, wrong
argument; it stops with an AssertionError at a Loop beside an If; it computes sizes in FP16 (4101 became
4100); and a mask of -1e9 becomes -65504, so that a masked row of attention became NaN.
onnxconverter-common is its older sibling. Neither writes BF16. modelopt's autocast does, but needs PyTorch.

A node computes in the low type if its ONNX definition allows it. The bodies of Loop, If and Scan stay in
FP32, and so do sizes computed from shapes and the operations in `_KEPT` and `_WITHOUT_BF16`. The comparison
with TensorFlow, not this module, decides whether the result is accurate enough.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

from tasks.onnx.low_float import BF16, LowFloat
from tasks.onnx.opset import opset_of
from tasks.onnx.structure import all_nodes, captured, subgraphs

_BOUNDING = frozenset({"Clip", "Max", "Min"})  # a constant is a bound here and keeps its whole range
_KEPT = frozenset(
    {
        "Constant",  # its value may be in an attribute that is FP32 by definition
        "ConstantOfShape",  # the same
        "CumSum",  # sums along an axis
        "NonMaxSuppression",  # these three depend on the order of close values
        "RoiAlign",
        "TopK",
    }
)
# TensorRT-RTX 1.7 builds these in FP16, but not in BF16. It does not build GRU in FP32 behind a cast either,
# so GRU is not listed: the parser's error names the node.
_WITHOUT_BF16 = frozenset({"ConvTranspose", "HardSwish"})
_WHOLE = frozenset({TensorProto.INT64, TensorProto.INT32})
_FP32_INPUTS = {"Resize": {1, 2}}  # region and scales determine the output's size


def cast_to(model: ModelProto, low: LowFloat) -> None:
    """Convert `model` in place to compute in `low`; its inputs and outputs keep their names and types.

    `model` must be valid and sorted, with every type inferred. It stays valid and sorted.
    """
    rewriter = _Rewriter(model, low)
    for node in model.graph.node:
        rewriter.add(node)
    rewriter.finish()


class _Rewriter:
    """Processes nodes in order. A name always means the FP32 tensor; its low twin has another name."""

    def __init__(self, model: ModelProto, low: LowFloat) -> None:
        self.graph, self.low = model.graph, low
        self.kept = _KEPT | _WITHOUT_BF16 if low is BF16 else _KEPT
        self.opset = opset_of(model)
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.types = _types(self.graph)
        self.shapes = _shape_arithmetic(self.graph, self.constants, low)
        self.names = {name for node in all_nodes(self.graph) for name in (*node.input, *node.output)}
        self.twins: dict[tuple[str, float], str] = {}
        self.only_low: set[str] = set()
        self.nodes: list[NodeProto] = []

    def add(self, node: NodeProto) -> None:
        """Append `node`, with the casts that it needs before it."""
        if self._computes_low(node):
            self._lower(node)
            return
        for name in (*node.input, *captured(node)):
            self._need_single(name)
        if node.op_type == "ConstantOfShape":
            _bound_value(node, self.low)
        self.nodes.append(node)

    def finish(self) -> None:
        """Cast the outputs back and put the new nodes into the graph."""
        for output in self.graph.output:
            self._need_single(output.name)
        nodes = [helper.make_node(node.op_type, [], []) for node in self.nodes]
        for copy, node in zip(nodes, self.nodes, strict=True):
            copy.CopyFrom(node)
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        used = {name for node in nodes for name in (*node.input, *captured(node))}
        used |= {output.name for output in self.graph.output}
        for index in reversed(range(len(self.graph.initializer))):
            if self.graph.initializer[index].name not in used:
                del self.graph.initializer[index]

    def _computes_low(self, node: NodeProto) -> bool:
        if node.op_type in self.kept or node.domain not in {"", "ai.onnx"} or any(subgraphs(node)):
            return False
        if any(name and name not in self.types for name in node.output):
            return False
        floats = [index for index, name in enumerate(node.output) if self._is_float(name)]
        if not floats:  # a comparison or a shape accepts any type
            return any(name in self.only_low for name in node.input)
        if node.op_type == "Cast" and not self._is_float(node.input[0]):
            return False
        if self.shapes.issuperset(node.output):
            return False
        schema = defs.get_schema(node.op_type, self.opset, node.domain)
        return "dtype" not in schema.attributes and all(self._takes(schema.outputs, i) for i in floats)

    def _lower(self, node: NodeProto) -> None:
        schema = defs.get_schema(node.op_type, self.opset, node.domain)
        for index, name in enumerate(node.input):
            if not self._is_float(name):
                continue
            if self._takes(schema.inputs, index) and index not in _FP32_INPUTS.get(node.op_type, ()):
                node.input[index] = self._twin(name, node.op_type)
            else:
                self._need_single(name)
        for index, name in enumerate(node.output):
            if self._is_float(name):
                node.output[index] = self.twins[name, 0.0] = self._fresh(name)
                self.only_low.add(name)
        if node.op_type == "Cast" and self._is_float(node.input[0]):
            next(attribute for attribute in node.attribute if attribute.name == "to").i = self.low.onnx
        self.nodes.append(node)

    def _takes(self, formal: Any, index: int) -> bool:
        """Return whether the operation's definition allows the low type at `index`; the last may repeat."""
        return self.low.schema in formal[min(index, len(formal) - 1)].types

    def _is_float(self, name: str) -> bool:
        return self.types.get(name) == TensorProto.FLOAT

    def _twin(self, name: str, consumer: str) -> str:
        """Return the name of `name` in the low type."""
        constant = self.constants.get(name)
        limit = 0.0 if constant is None else self.low.largest if consumer in _BOUNDING else self.low.mask
        if (name, limit) not in self.twins:
            twin = self.twins[name, limit] = self._fresh(name)
            if constant is None:
                self._cast(name, twin, self.low.onnx)
            else:
                values = self.low.rounded(numpy_helper.to_array(constant), limit=limit)
                self.graph.initializer.append(numpy_helper.from_array(values, twin))
        return self.twins[name, limit]

    def _need_single(self, name: str) -> None:
        """Make `name` available in FP32."""
        if name in self.only_low:
            self.only_low.remove(name)
            self._cast(self.twins[name, 0.0], name, TensorProto.FLOAT)

    def _cast(self, source: str, result: str, to: int) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [result], f"{result}/cast", to=to))

    def _fresh(self, name: str) -> str:
        twin = f"{name}_{self.low.name}"
        while twin in self.names:
            twin += "_"
        self.names.add(twin)
        return twin


def _types(graph: GraphProto) -> dict[str, int]:
    values = (*graph.value_info, *graph.input, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types = {name: kind for name, kind in types.items() if kind}
    return types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _shape_arithmetic(graph: GraphProto, constants: dict[str, TensorProto], low: LowFloat) -> set[str]:
    """Return the tensors that depend only on shapes and constants.

    FP16 represents integers exactly only up to 2048 and BF16 up to 256, so a size computed in them would be
    wrong. A constant beyond the range of the low type is a mask, not a size.
    """
    masks = {
        name
        for name, tensor in constants.items()
        if tensor.data_type == TensorProto.FLOAT and low.beyond(numpy_helper.to_array(tensor)).any()
    }
    return _following(graph, constants.keys() - masks) | _rounded(graph, _following(graph, constants.keys()))


def _following(graph: GraphProto, constants: AbstractSet[str]) -> set[str]:
    """Return the tensors that depend only on shapes and `constants`."""
    followers: set[str] = set()
    for node in graph.node:
        names = {name for name in node.input if name}
        follows = names & followers and names <= followers | constants
        if node.op_type in {"Shape", "Size"} or (follows and not any(subgraphs(node))):
            followers.update(node.output)
    return followers


def _rounded(graph: GraphProto, followers: set[str]) -> set[str]:
    """Return those of `followers` that become integers: sizes, even with a mask constant among them."""
    sizes: set[str] = set()
    for node in reversed(graph.node):
        whole = node.op_type == "Cast" and next(a.i for a in node.attribute if a.name == "to") in _WHOLE
        if whole or sizes.intersection(node.output):
            sizes.update(followers.intersection(node.input))
    return sizes


def _bound_value(node: NodeProto, low: LowFloat) -> None:
    for attribute in node.attribute:
        if attribute.t.data_type == TensorProto.FLOAT:
            values = low.bounded(numpy_helper.to_array(attribute.t), low.mask)
            attribute.t.CopyFrom(numpy_helper.from_array(values))
