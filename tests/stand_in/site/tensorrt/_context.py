"""Running an engine: onnxruntime computes when the work comes up on its stream."""

from __future__ import annotations

import time
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, shape_inference

from tests.stand_in.hardware import CONFIG, Fault, clock, memory, streams

from ._base import Strict
from ._enums import Severity
from ._network import dimensions
from ._types import numpy_type

if TYPE_CHECKING:
    from ._engine import ICudaEngine

Shape = tuple[int, ...]


class IExecutionContext(Strict):
    """Runs an engine with shapes, addresses and one profile."""

    active_optimization_profile = 0
    enqueue_emits_profile = True
    profiler: Any = None
    name = ""
    engine: Any = None

    def __init__(self, engine: ICudaEngine) -> None:
        self.engine = engine
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            engine._graph, options, providers=["CPUExecutionProvider"]
        )
        self._inferred: dict[str, Shape] | None = None
        self._last_run = 0.0

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Choose a profile; shapes must be set again then."""
        del stream_handle
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            return self._refuse(f"profile {profile_index} does not exist")
        self.active_optimization_profile = profile_index
        self._shapes, self._inferred = {}, None
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        """Set the shape of an input."""
        wanted = tuple(int(size) for size in shape)
        low, _, high = self.engine.get_tensor_profile_shape(name, self.active_optimization_profile)
        if len(wanted) != len(low) or not all(
            least <= size <= most for least, size, most in zip(low, wanted, high, strict=True)
        ):
            return self._refuse(
                f"Error Code 3: API Usage Error (Parameter check failed: shape {wanted} of {name} is not in "
                f"{low} to {high} of profile {self.active_optimization_profile})"
            )
        self._shapes[name], self._inferred = wanted, None
        return True

    def get_tensor_shape(self, name: str) -> Shape:
        """Return the shape that is set or follows; -1 for what only values decide."""
        if name in self._shapes:
            return self._shapes[name]
        if name in self.engine._inputs or self.infer_shapes():
            return tuple(self.engine.get_tensor_shape(name))
        return (self._inferred or {})[name]

    def infer_shapes(self) -> list[str]:
        """Return the inputs whose shape is missing; none where all shapes follow."""
        missing = [name for name in self.engine._inputs if min(self._shape_of(name), default=0) < 0]
        if not missing and self._inferred is None:
            self._inferred = self._infer()
        return missing

    def _shape_of(self, name: str) -> Shape:
        return self._shapes.get(name) or tuple(self.engine.get_tensor_shape(name))

    def _infer(self) -> dict[str, Shape]:
        model = onnx.ModelProto()
        model.CopyFrom(self.engine._model)
        for info in model.graph.input:
            if info.name in self.engine._inputs:
                kind = info.type.tensor_type.elem_type
                info.CopyFrom(helper.make_tensor_value_info(info.name, kind, self._shape_of(info.name)))
        for info in model.graph.output:  # the symbols in it would hide what follows
            info.type.tensor_type.ClearField("shape")
        graph = shape_inference.infer_shapes(model, data_prop=True).graph
        return {
            info.name: dimensions(info)
            if info.type.tensor_type.HasField("shape")
            else (-1,) * len(self.engine.get_tensor_shape(info.name))
            for info in graph.output
        }

    def set_tensor_address(self, name: str, memory: int) -> bool:
        """Say where a tensor lies."""
        if name not in self.engine._tensors:
            return self._refuse(f"there is no tensor {name}")
        self._addresses[name] = int(memory)
        return True

    def get_tensor_address(self, name: str) -> int:
        """Return where a tensor lies."""
        return self._addresses.get(name, 0)

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        """Let `output_allocator` say where an output lies, once its size is known."""
        self._allocators[name] = output_allocator
        return True

    def get_output_allocator(self, name: str) -> Any:
        """Return the allocator of an output."""
        return self._allocators.get(name)

    def execute_async_v3(self, stream_handle: int) -> bool:
        """Put one run on a stream."""
        wanting = [
            name
            for name in self.engine._tensors
            if name not in self._addresses and name not in self._allocators
        ]
        wanting += self.infer_shapes()
        if wanting:
            return self._refuse(f"Error Code 3: API Usage Error (no address or shape of {wanting})")
        done = []

        def work() -> None:
            started = time.perf_counter()
            done.append(self._run())
            self._last_run = time.perf_counter() - started

        try:
            streams.put(stream_handle, work)
        except Fault as fault:
            return self._refuse(f"Error Code 1: Cuda Runtime ({fault})")
        if self.profiler is not None and self.enqueue_emits_profile and done:
            self.report_to_profiler()
        return all(done)

    def report_to_profiler(self) -> bool:
        """Hand out the last run's time, in equal parts for all layers."""
        layers = self.engine._header["layers"]
        for layer in layers:
            self.profiler.report_layer_time(layer, self._last_run * 1000 / len(layers))
        return True

    def _run(self) -> bool:
        (clock.advance if CONFIG["counted"] else time.sleep)(CONFIG["run_seconds"])
        feeds = {name: self._read(name, _onnx_type(info)) for name, info in self.engine._inputs.items()}
        outputs = [info.name for info in self.engine._model.graph.output]
        for name, value in zip(outputs, self._session.run(outputs, feeds), strict=True):
            given = np.ascontiguousarray(self._spoilt(value), numpy_type(self.engine.get_tensor_dtype(name)))
            if not self._write(name, given.reshape(np.shape(value))):
                return False
        return True

    def _read(self, name: str, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        held, shape = numpy_type(self.engine.get_tensor_dtype(name)), self._shape_of(name)
        data = memory.at(self._addresses[name], prod(shape) * held.itemsize)
        return data.view(held).reshape(shape).astype(dtype)

    def _write(self, name: str, value: npt.NDArray[Any]) -> bool:
        allocator = self._allocators.get(name)
        if allocator is not None:
            address = self._allocate(allocator, name, value.nbytes)
            if not address:
                return self._refuse(f"Error Code 2: OutOfMemory (no memory for output {name})")
            self._addresses[name] = address
            allocator.notify_shape(name, value.shape)
        if value.nbytes:
            memory.at(self._addresses[name], value.nbytes)[:] = value.reshape(-1).view(np.uint8)
        return True

    def _allocate(self, allocator: Any, name: str, size: int) -> int:
        if hasattr(allocator, "reallocate_output_async"):
            return int(allocator.reallocate_output_async(name, 0, size, 256, 0))
        return int(allocator.reallocate_output(name, 0, size, 256))

    def _spoilt(self, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return another answer, where the plan was built to give one."""
        factor = self.engine._header["wrong"]
        return value * value.dtype.type(factor) if factor != 1 and value.dtype.kind == "f" else value

    def _refuse(self, text: str) -> bool:
        self.engine._logger.log(Severity.ERROR, text)
        return False


def _onnx_type(info: onnx.ValueInfoProto) -> np.dtype[Any]:
    return np.dtype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))
