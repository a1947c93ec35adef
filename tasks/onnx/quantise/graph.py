"""Writes pairs of QuantizeLinear and DequantizeLinear into a graph, in the form that TensorRT fuses.

Quantisation is symmetric, with one scale for an activation and one for each output channel of a weight. A
weight is stored in its low precision with a DequantizeLinear behind it, so that the file shrinks as the
engine does. Biases, shapes, inputs and outputs keep their types.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tasks.children.weights import Scratch
from tasks.domain.request import Precision
from tasks.onnx.quantise.sites import Place, Site, Weight
from tasks.onnx.structure import all_nodes

_FLOAT8_IR = 9  # the first version of ONNX's own format that has FP8
# A smaller scale would be a subnormal number or zero, which TensorRT refuses: such small values become zero.
_SMALLEST = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """An element type and the largest magnitude to use of it."""

    element: int
    largest: float


_FORMATS = {
    Precision.INT8: _Format(element=TensorProto.INT8, largest=127.0),
    Precision.FP8: _Format(element=TensorProto.FLOAT8E4M3FN, largest=448.0),
}


class QuantisedGraphs:
    """Makes quantised copies of a graph; its weights are rounded once for all of them.

    Args:
        model: the FP32 graph; its large weights are references.
        precision: INT8 or FP8.
        room: the file for large weights.
    """

    def __init__(self, model: ModelProto, precision: Precision, room: Scratch) -> None:
        self._model = model
        self._format = _FORMATS[precision]
        self._room = room
        self._floats = {tensor.name: tensor for tensor in model.graph.initializer}
        self._weights: dict[tuple[str, int | None], tuple[list[TensorProto], NodeProto]] = {}
        self._taken = {
            name for node in all_nodes(model.graph) for name in (*node.input, *node.output)
        } | self._floats.keys()
        self._named: dict[tuple[str, int | None], tuple[str, str, str, str]] = {}

    def make(self, sites: Collection[Site], ranges: Mapping[str, float]) -> ModelProto:
        """Return a copy in which `sites` compute in low precision.

        Args:
            sites: operations of the graph.
            ranges: the largest magnitude to represent, by activation.
        """
        copy = ModelProto()
        copy.CopyFrom(self._model)
        if self._format.element == TensorProto.FLOAT8E4M3FN:
            copy.ir_version = max(copy.ir_version, _FLOAT8_IR)
        pairs: dict[str, list[NodeProto]] = {}
        places: dict[Place, str] = {}
        for site in sites:
            for place, name in site.activations.items():
                if name not in pairs:
                    pairs[name] = self._activation(copy, name, ranges[name])
                places[place] = pairs[name][-1].output[0]
            if site.weight is not None:
                places[site.weight.place] = self._weight(copy, site.weight, pairs)
        _insert(copy, pairs, places)
        return copy

    def _activation(self, copy: ModelProto, name: str, largest: float) -> list[NodeProto]:
        scale, zero, low, back = self._names(name, None)
        copy.graph.initializer.extend(self._scale(np.asarray(largest), scale, zero))
        return [
            helper.make_node("QuantizeLinear", [name, scale, zero], [low], name=low),
            helper.make_node("DequantizeLinear", [low, scale, zero], [back], name=back),
        ]

    def _weight(self, copy: ModelProto, weight: Weight, pairs: dict[str, list[NodeProto]]) -> str:
        key = weight.tensor, weight.axis
        if key not in self._weights:
            self._weights[key] = self._rounded(weight)
        tensors, node = self._weights[key]
        if node.output[0] not in pairs:
            copy.graph.initializer.extend(tensors)
            pairs[node.output[0]] = [node]
        output: str = node.output[0]
        return output

    def _rounded(self, weight: Weight) -> tuple[list[TensorProto], NodeProto]:
        """Return weight, scales and zero points in low precision, and the node that reads them."""
        values = numpy_helper.to_array(self._floats[weight.tensor])
        scale, zero, low, back = self._names(weight.tensor, weight.axis)
        others = tuple(axis for axis in range(values.ndim) if axis != weight.axis)
        largest = np.max(np.abs(values), axis=others if weight.axis is not None else None, initial=0)
        scales = self._scale(largest, scale, zero)
        divisor = self._step(largest)
        if weight.axis is not None:
            divisor = np.expand_dims(divisor, others)
        rounded = numpy_helper.from_array(self._round(values / divisor), low)
        self._room.keep_tensor(rounded)
        node = helper.make_node("DequantizeLinear", [low, scale, zero], [back], name=back)
        if weight.axis is not None:
            node.attribute.append(helper.make_attribute("axis", weight.axis))
        return [rounded, *scales], node

    def _scale(self, largest: npt.NDArray[Any], scale: str, zero: str) -> list[TensorProto]:
        """Return scale and zero point; all zero points are zero."""
        low = helper.tensor_dtype_to_np_dtype(self._format.element)
        return [
            numpy_helper.from_array(self._step(largest), scale),
            numpy_helper.from_array(np.zeros(largest.shape, low), zero),
        ]

    def _step(self, largest: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the value of one unit of the low precision; 1 if all values are zero."""
        used = np.where(largest > _SMALLEST, largest, self._format.largest)
        return np.asarray(used / self._format.largest, np.float32)

    def _round(self, units: npt.NDArray[Any]) -> npt.NDArray[Any]:
        units = np.clip(units, -self._format.largest, self._format.largest)
        low = helper.tensor_dtype_to_np_dtype(self._format.element)
        return (np.rint(units) if self._format.element == TensorProto.INT8 else units).astype(low)

    def _names(self, name: str, axis: int | None) -> tuple[str, str, str, str]:
        """Return free names for scale, zero point, low precision and dequantised value; deterministic."""
        if (name, axis) not in self._named:
            scale, zero, low, back = (
                self._free(f"{name}_{part}") for part in ("scale", "zero_point", "quantised", "dequantised")
            )
            self._named[name, axis] = scale, zero, low, back
        return self._named[name, axis]

    def _free(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _insert(copy: ModelProto, pairs: Mapping[str, list[NodeProto]], places: Mapping[Place, str]) -> None:
    """Let `places` read the outputs of their pairs; each pair is inserted right before its first reader."""
    made = {nodes[-1].output[0]: nodes for nodes in pairs.values()}
    nodes: list[NodeProto] = []
    for index, node in enumerate(copy.graph.node):
        for number in range(len(node.input)):
            name = places.get(Place(node=index, input=number))
            if name is not None:
                nodes += made.pop(name, [])
                node.input[number] = name
        kept = NodeProto()
        kept.CopyFrom(node)
        nodes.append(kept)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    _drop_unread(copy)


def _drop_unread(copy: ModelProto) -> None:
    read = {name for node in all_nodes(copy.graph) for name in node.input}
    read |= {value.name for value in copy.graph.output}
    kept = [tensor for tensor in copy.graph.initializer if tensor.name in read]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
