"""Networks: what the parser makes of an ONNX graph."""

from __future__ import annotations

from typing import Any

from onnx import GraphProto, ModelProto, ValueInfoProto, helper, shape_inference

from ._base import From10, Strict
from ._enums import LayerType, NetworkDefinitionCreationFlag
from ._types import data_type


def dimensions(info: ValueInfoProto) -> tuple[int, ...]:
    """Return a shape, -1 for what is not known."""
    shape = info.type.tensor_type.shape
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in shape.dim)


class ITensor(Strict):
    """A tensor of a network."""

    is_shape_tensor = False
    is_network_input = False
    is_network_output = False
    name = ""
    shape: tuple[int, ...] = ()
    dtype: Any = None

    def __init__(self, info: ValueInfoProto, *, goes_in: bool = False, comes_out: bool = False) -> None:
        self.name, self.shape = info.name, dimensions(info)
        self._kind = info.type.tensor_type.elem_type
        self.dtype = data_type(self._kind)
        self.is_network_input, self.is_network_output = goes_in, comes_out


class ILayer(Strict):
    """A layer of a network: one node of the graph."""

    name = ""
    num_inputs = 0
    num_outputs = 0

    type: Any = None

    def __init__(self, name: str, op: str, inputs: list[ITensor], outputs: list[ITensor]) -> None:
        self.name, self._inputs, self._outputs = name, inputs, outputs
        # Of the many kinds there are only those that the farm asks for, and one for all others.
        kinds = {"QuantizeLinear": LayerType.QUANTIZE, "DequantizeLinear": LayerType.DEQUANTIZE}
        self.type = kinds.get(op, LayerType.IDENTITY)
        self.num_inputs, self.num_outputs = len(inputs), len(outputs)

    def get_input(self, index: int) -> ITensor:
        """Return an input."""
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        """Return an output."""
        return self._outputs[index]


class INetworkDefinition(Strict):
    """A network."""

    name = ""
    flags: Any = From10(0)
    num_inputs = 0
    num_outputs = 0
    num_layers = 0

    def __init__(self, flags: int) -> None:
        if hasattr(type(self), "flags"):
            self.flags = flags
        self._model: ModelProto | None = None
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []
        self._layers: list[ILayer] = []

    get_flag = From10(lambda self, flag: bool(self.flags >> int(NetworkDefinitionCreationFlag(flag)) & 1))

    def get_input(self, index: int) -> ITensor:
        """Return an input."""
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        """Return an output."""
        return self._outputs[index]

    def get_layer(self, index: int) -> ILayer:
        """Return a layer."""
        return self._layers[index]

    def mark_output(self, tensor: ITensor) -> None:
        """Make a tensor between the layers an output."""
        assert self._model is not None
        info = helper.make_tensor_value_info(tensor.name, tensor._kind, [None] * len(tensor.shape))
        self._model.graph.output.append(info)
        self._outputs.append(tensor)
        self.num_outputs, tensor.is_network_output = len(self._outputs), True

    def _fill(self, model: ModelProto) -> None:
        self._model = model
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
        tensors = _tensors(graph)
        weights = {tensor.name for tensor in graph.initializer}
        self._inputs = [tensors[tensor.name] for tensor in graph.input if tensor.name not in weights]
        self._outputs = [tensors[tensor.name] for tensor in graph.output]
        self._layers = [
            ILayer(
                node.name or f"(Unnamed Layer* {number})",
                node.op_type,
                [tensors[name] for name in node.input if name in tensors],
                [tensors[name] for name in node.output if name in tensors],
            )
            for number, node in enumerate(graph.node)
        ]
        self.num_inputs, self.num_outputs = len(self._inputs), len(self._outputs)
        self.num_layers = len(self._layers)


def _tensors(graph: GraphProto) -> dict[str, ITensor]:
    tensors = {info.name: ITensor(info) for info in graph.value_info}
    tensors |= {info.name: ITensor(info, goes_in=True) for info in graph.input}
    return tensors | {info.name: ITensor(info, comes_out=True) for info in graph.output}


class IOptimizationProfile(Strict):
    """Which shapes an engine takes."""

    def __init__(self) -> None:
        self._shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 (TensorRT's names)
        """Set the shapes of an input."""
        corners = [tuple(int(size) for size in corner) for corner in (min, opt, max)]
        for low, best, high in zip(*corners, strict=True):
            if not 0 <= low <= best <= high:
                raise ValueError("Invalid shape for optimization profile")
        self._shapes[input] = corners

    def get_shape(self, input: str) -> list[tuple[int, ...]]:  # noqa: A002
        """Return the shapes of an input."""
        return self._shapes.get(input, [])
