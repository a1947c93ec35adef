"""Engines, and what reads them."""

from __future__ import annotations

import json
from typing import Any

import onnx

from tests.stand_in.hardware import CONFIG, boards, current

from ._base import FULL_VERSION, From10, Strict
from ._context import IExecutionContext
from ._enums import (
    HardwareCompatibilityLevel,
    LayerInformationFormat,
    ProfilingVerbosity,
    Severity,
    TensorIOMode,
    TensorLocation,
)
from ._network import dimensions
from ._plan import IHostMemory, read_plan, write_plan
from ._types import data_type


class Runtime(Strict):
    """Makes engines of plans."""

    engine_host_code_allowed = False
    max_threads = 1
    logger: Any = None

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        """Return the engine; None where the plan is not for this GPU and version."""
        try:
            header, graph = read_plan(serialized_engine)
        except ValueError as error:
            text = f"Error Code 1: Serialization (Serialization assertion failed. {error})"
            self.logger.log(Severity.ERROR, text)
            return None
        why_not = self._refusal(header)
        if why_not:
            self.logger.log(Severity.ERROR, why_not)
            return None
        return ICudaEngine(header, graph, self.logger)

    def _refusal(self, header: dict[str, Any]) -> str:
        """Return why an engine does not run here; empty where it does."""
        board, flags = boards()[current()], header["flags"]
        if header["tensorrt"] != FULL_VERSION and "VERSION_COMPATIBLE" not in flags:
            return (
                "Error Code 6: The engine plan file is not compatible with this version of TensorRT, "
                f"expecting library version {FULL_VERSION} got {header['tensorrt']}, please rebuild."
            )
        host_code = "VERSION_COMPATIBLE" in flags and "EXCLUDE_LEAN_RUNTIME" not in flags
        if host_code and not self.engine_host_code_allowed:
            return "Error Code 4: the plan has host code, and engine_host_code_allowed is not set"
        if board.compute != header["compute"] and not _compatible(header, board.compute):
            return (
                "Error Code 6: The engine plan file is generated on an incompatible device, expecting "
                f"compute {board.compute} got compute {header['compute']}, please rebuild."
            )
        if board.name != header["gpu"]:
            text = "Using an engine plan file across different models of devices is not recommended."
            self.logger.log(Severity.WARNING, text)
        return ""


def _compatible(header: dict[str, Any], compute: str) -> bool:
    return header["compatible"] == "AMPERE_PLUS" and float(compute) >= 8 and float(header["compute"]) >= 8


class ICudaEngine(Strict):
    """An engine."""

    name = ""
    num_io_tensors = 0
    num_layers = 0
    num_optimization_profiles = 1
    num_aux_streams = 0
    device_memory_size = 0
    device_memory_size_v2: Any = From10(0)
    refittable = False
    hardware_compatibility_level = HardwareCompatibilityLevel.NONE
    profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY

    def __init__(self, header: dict[str, Any], graph: bytes, logger: Any) -> None:
        self._header, self._graph, self._logger = header, graph, logger
        self._model = onnx.load_from_string(graph)
        weights = {tensor.name for tensor in self._model.graph.initializer}
        self._inputs = {
            tensor.name: tensor for tensor in self._model.graph.input if tensor.name not in weights
        }
        self._tensors = self._inputs | {tensor.name: tensor for tensor in self._model.graph.output}
        self.name, self.num_io_tensors = header["name"], len(self._tensors)
        self.num_layers = len(header["layers"])
        self.num_optimization_profiles = max(len(header["profiles"]), 1)
        self.device_memory_size = len(graph)
        if hasattr(type(self), "device_memory_size_v2"):
            self.device_memory_size_v2 = len(graph)
        self.refittable = "REFIT" in header["flags"]
        self.hardware_compatibility_level = HardwareCompatibilityLevel[header["compatible"]]
        self.profiling_verbosity = ProfilingVerbosity[header["verbosity"]]

    def get_tensor_name(self, index: int) -> str:
        """Return the name of an input or output."""
        return str(list(self._tensors)[index])

    def get_tensor_mode(self, name: str) -> Any:
        """Say whether a tensor goes in or out."""
        if name not in self._tensors:
            return TensorIOMode.NONE
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        """Return the element type."""
        return data_type(self._tensors[name].type.tensor_type.elem_type)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape, -1 for what is decided later."""
        return dimensions(self._tensors[name])

    def get_tensor_location(self, name: str) -> Any:
        """Return where the engine wants a tensor."""
        del name
        return TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        """Return the shapes of an input that a profile takes."""
        profiles = self._header["profiles"]
        given = profiles[profile_index].get(name) if profiles else None
        return [tuple(corner) for corner in given or [self.get_tensor_shape(name)] * 3]

    def create_execution_context(self) -> IExecutionContext | None:
        """Return what runs the engine; None without memory."""
        if CONFIG["fault"] == "gpu-memory-run":
            self._logger.log(Severity.ERROR, "Error Code 1: Cuda Runtime (out of memory)")
            return None
        return IExecutionContext(self)

    def create_engine_inspector(self) -> EngineInspector:
        """Return what tells about the engine."""
        return EngineInspector(self)

    def serialize(self) -> IHostMemory:
        """Return the plan."""
        return write_plan(self._header, self._graph)


class EngineInspector(Strict):
    """Tells about an engine, as much as its verbosity lets it."""

    execution_context: Any = None

    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine

    def get_layer_information(self, layer_index: int, format: Any) -> str:  # noqa: A002 (TensorRT's)
        """Return a layer."""
        layer = self._layer(layer_index)
        if format == LayerInformationFormat.JSON:
            return json.dumps(layer)
        return layer if isinstance(layer, str) else str(layer["Name"])

    def get_engine_information(self, format: Any) -> str:  # noqa: A002
        """Return all layers, and what goes in and out."""
        layers = [self._layer(index) for index in range(self._engine.num_layers)]
        if format == LayerInformationFormat.JSON:
            return json.dumps({"Layers": layers, "Bindings": list(self._engine._tensors)})
        return "\n".join(self.get_layer_information(index, format) for index in range(len(layers)))

    def _layer(self, index: int) -> str | dict[str, Any]:
        name = str(self._engine._header["layers"][index])
        verbosity = self._engine.profiling_verbosity
        if verbosity == ProfilingVerbosity.NONE:
            return ""
        if verbosity == ProfilingVerbosity.LAYER_NAMES_ONLY:
            return name
        node = self._engine._model.graph.node[index]
        return {
            "Name": name,
            "LayerType": node.op_type,
            "Inputs": [{"Name": name} for name in node.input],
            "Outputs": [{"Name": name} for name in node.output],
            "TacticName": f"stand_in_{node.op_type.lower()}",
            "Metadata": "",
        }
