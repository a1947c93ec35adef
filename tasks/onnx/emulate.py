"""Rewrites a graph with FP16 or BF16 nodes so that FP32 arithmetic shows the effect of their rounding.

onnxruntime's CPU kernels compute FP16 nodes in FP32 and keep the extra digits between nodes, and it has few
kernels for BF16. Here each of these nodes computes in FP32 and its results are rounded to the low type. A
GPU's matrix units do the same: they sum in FP32 and round the result.

A tensor of a low type keeps its name and gets a wide copy of the same values in FP32, which nodes read.
Weights, inputs and outputs of the graph and of its subgraphs stay as they are; so do Q/DQ nodes in INT8 and
FP8, for which onnxruntime has kernels.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, shape_inference

from tasks.onnx.low_float import LOW_FLOATS
from tasks.onnx.structure import all_nodes, subgraphs

_LOW = frozenset(low.onnx for low in LOW_FLOATS.values())
# Their element type is an attribute, and they round to it themselves.
_TYPED_BY_ATTRIBUTE = frozenset({"Cast", "Constant", "ConstantOfShape"})


def emulated(path: Path) -> bytes | None:
    """Return a graph that computes like that at `path`, with every FP16 and BF16 result rounded.

    References to external weights stay as they are. None if no node computes in these types.
    """
    model = onnx.load(path, load_external_data=False)
    return model.SerializeToString() if emulate(model) else None


def emulate(model: ModelProto) -> bool:
    """Convert the FP16 and BF16 nodes of `model` in place to FP32; return whether there are any."""
    inferred = shape_inference.infer_shapes(model)
    if not _low_types(inferred.graph):
        return False
    names = {name for node in all_nodes(model.graph) for name in (*node.input, *node.output)}
    _Emulation(inferred.graph, {}, names).rewrite(model.graph)
    return True


class _Emulation:
    """A graph; `wide` are the copies in the graphs around it."""

    def __init__(self, inferred: GraphProto, wide: dict[str, str], names: set[str]) -> None:
        self.types = _low_types(inferred)
        self.inner = [list(subgraphs(node)) for node in inferred.node]
        self.wide = {name: copy for name, copy in wide.items() if name not in _own_names(inferred)}
        self.names = names
        self.nodes: list[NodeProto] = []

    def rewrite(self, graph: GraphProto) -> None:
        """Replace the nodes of `graph`."""
        for value in (*graph.initializer, *graph.input):
            self._widen(value.name)
        for node, inner in zip(graph.node, self.inner, strict=True):
            self._add(node, inner)
        copies = []
        for node in self.nodes:
            copy = NodeProto()
            copy.CopyFrom(node)
            copies.append(copy)
        del graph.node[:]
        graph.node.extend(copies)

    def _add(self, node: NodeProto, inner: list[GraphProto]) -> None:
        for graph, inferred in zip(subgraphs(node), inner, strict=True):
            _Emulation(inferred, self.wide, self.names).rewrite(graph)
        if not inner:  # a subgraph's inputs keep their declared types
            node.input[:] = [self.wide.get(name, name) for name in node.input]
        rounds = not inner and node.op_type not in _TYPED_BY_ATTRIBUTE
        low = [name for name in node.output if name in self.types and rounds]
        exact = {name: self._fresh(name, "exact") for name in low}
        results = list(node.output)
        node.output[:] = [exact.get(name, name) for name in results]
        self.nodes.append(node)
        for name in low:
            self._cast(exact[name], name, self.types[name])
        for name in results:
            self._widen(name)

    def _widen(self, name: str) -> None:
        if name in self.types and name not in self.wide:
            self.wide[name] = self._fresh(name, "wide")
            self._cast(name, self.wide[name], TensorProto.FLOAT)

    def _cast(self, source: str, result: str, to: int) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [result], f"{result}/round", to=to))

    def _fresh(self, name: str, suffix: str) -> str:
        fresh = f"{name}_{suffix}"
        while fresh in self.names:
            fresh += "_"
        self.names.add(fresh)
        return fresh


def _low_types(graph: GraphProto) -> dict[str, int]:
    values = (*graph.value_info, *graph.input, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name: kind for name, kind in types.items() if kind in _LOW}


def _own_names(graph: GraphProto) -> set[str]:
    values = (*graph.input, *graph.initializer)
    return {value.name for value in values} | {name for node in graph.node for name in node.output}
