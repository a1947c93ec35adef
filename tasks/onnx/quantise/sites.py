"""The operations of a graph that compute in INT8 or FP8, and the inputs that get pairs.

Placement follows NVIDIA's guidance for explicit quantisation: every input of a convolution or a matrix
product, no output, no bias, and the shortcut of a residual Add, so that TensorRT fuses the Add into the
convolution before it. Pooling, concatenation and activations need no pairs: TensorRT moves a Q over them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from onnx import ModelProto, NodeProto, TensorProto, helper

from tasks.domain.request import Precision
from tasks.onnx.quantise.work import PRODUCTS
from tasks.onnx.structure import all_nodes, captured

_MATRIX = 2
# TensorRT has FP8 kernels for convolutions with at least 16 channels on both sides and filters of fewer than
# 32 values; it has none for transposed ones. TensorRT-RTX builds the others as well, but which kernels then
# run would only show on its GPU.
_FP8_CHANNELS = 16
_FP8_FILTER = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An input of a node, by their indices."""

    node: int
    input: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A constant input, and the axis of its output channels; None if it gets one scale."""

    place: Place
    tensor: str
    axis: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An operation that can compute in low precision.

    Attributes:
        node: its index in the graph.
        activations: inputs whose values are only known at run time, by place; including those of a residual
            Add that is fused into the operation.
        weight: its constant input; None in a product of two activations.
    """

    node: int
    activations: Mapping[Place, str] = field(hash=False)
    weight: Weight | None


def find_sites(model: ModelProto, precision: Precision) -> tuple[tuple[Site, ...], int]:
    """Return the operations that can compute in `precision`, and the number of all operations of such types.

    `model` must have every type inferred. Operations in the bodies of Loop, If and Scan are counted, but
    TensorRT accepts no pairs there.
    """
    graph = model.graph
    finder = _Finder(model, precision)
    sites = [site for index, node in enumerate(graph.node) if (site := finder.site(index, node)) is not None]
    return finder.with_shortcuts(sites), sum(1 for node in all_nodes(graph) if node.op_type in PRODUCTS)


class _Finder:
    def __init__(self, model: ModelProto, precision: Precision) -> None:
        graph = self.graph = model.graph
        self.precision = precision
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        values = (*graph.value_info, *graph.input, *graph.output)
        self.types = {value.name: value.type.tensor_type.elem_type for value in values}
        self.types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        self.readers = Counter(
            name for node in graph.node for name in (*node.input, *captured(node)) if name
        ) + Counter(value.name for value in graph.output)

    def site(self, index: int, node: NodeProto) -> Site | None:
        """Return `node` as a site; None if it is not quantisable."""
        if node.op_type not in PRODUCTS or node.domain not in {"", "ai.onnx"}:
            return None
        factors = node.input[:2]  # the third is the bias
        constant = [number for number, name in enumerate(factors) if name in self.weights]
        if len(constant) == len(factors) or any(
            self.types.get(name) != TensorProto.FLOAT for name in factors
        ):
            return None
        weight = self._weight(index, node, constant[0]) if constant else None
        if self.precision is Precision.FP8 and not self._has_fp8_kernel(node, weight):
            return None
        activations = {
            Place(node=index, input=number): name
            for number, name in enumerate(factors)
            if number not in constant
        }
        return Site(node=index, activations=activations, weight=weight)

    def _weight(self, index: int, node: NodeProto, number: int) -> Weight:
        name = node.input[number]
        axis = _channels(node, number, len(self.weights[name].dims))
        return Weight(place=Place(node=index, input=number), tensor=name, axis=axis)

    def _has_fp8_kernel(self, node: NodeProto, weight: Weight | None) -> bool:
        if node.op_type == "ConvTranspose":
            return False
        if node.op_type != "Conv":
            return True
        if weight is None:
            return False
        out, into, *kernel = self.weights[weight.tensor].dims
        size = 1
        for extent in kernel:
            size *= extent
        return min(out, into) >= _FP8_CHANNELS and size < _FP8_FILTER

    def with_shortcuts(self, sites: list[Site]) -> tuple[Site, ...]:
        """Add to each convolution that ends in a residual Add the Add's other input."""
        ends = {
            self.graph.node[site.node].output[0]: site
            for site in sites
            if self.graph.node[site.node].op_type == "Conv"
        }
        fused = {}
        for index, node in enumerate(self.graph.node):
            number = self._convolution_of(node, ends)
            if number is None:
                continue
            site, shortcut = ends[node.input[number]], Place(node=index, input=1 - number)
            activations = {**site.activations, shortcut: node.input[1 - number]}
            fused[site.node] = Site(node=site.node, activations=activations, weight=site.weight)
        return tuple(fused.get(site.node, site) for site in sites)

    def _convolution_of(self, node: NodeProto, ends: Mapping[str, Site]) -> int | None:
        """Return the input of an Add that comes from a convolution and has no other reader."""
        if node.op_type != "Add" or any(name in self.weights for name in node.input):
            return None
        candidates = [
            number for number, name in enumerate(node.input) if name in ends and self.readers[name] == 1
        ]
        # Of two convolutions the later one is the main path, as frameworks write it; either is valid.
        return max(candidates, key=lambda number: ends[node.input[number]].node, default=None)


def _channels(node: NodeProto, number: int, rank: int) -> int | None:
    """Return the axis of the output channels in input `number` of `node`, if TensorRT accepts one."""
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "Conv":
        return 0 if number == 1 else None
    if node.op_type == "ConvTranspose":
        return 1 if number == 1 and attributes.get("group", 1) == 1 else None
    if rank != _MATRIX or number != 1:
        return None
    return 0 if attributes.get("transB", 0) else 1
