"""Running an engine with pycuda."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.domain.errors import GpuUnavailable, TargetUnavailable, VerificationFailed
from tasks.tensorrt.inside.buffers import Buffers, output_allocator
from tasks.tensorrt.inside.messages import Messages, collecting_logger
from tasks.tensorrt.inside.network import numpy_type

Arrays = dict[str, npt.NDArray[Any]]


class Execution:
    """An engine on a GPU. `close` frees everything; the process must not use CUDA otherwise.

    Raises:
        GpuUnavailable: there is no such GPU, or it is out of memory.
        TargetUnavailable: the plan does not run on this GPU with this TensorRT.
    """

    def __init__(
        self, trt: Any, cuda: Any, plan: bytes, gpu_index: int, *, carries_code: bool = False
    ) -> None:
        self._trt, self._cuda, self._messages = trt, cuda, Messages()
        self._device_context = _primary_context(cuda, gpu_index)
        try:
            self._load(plan, carries_code=carries_code)
        except BaseException:
            self._device_context.pop()
            raise

    def _load(self, plan: bytes, *, carries_code: bool) -> None:
        self._logger = collecting_logger(self._trt, self._messages)
        self._runtime = runtime = self._trt.Runtime(self._logger)
        runtime.engine_host_code_allowed = carries_code
        self._engine = engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise TargetUnavailable(
                wanted="an engine that runs on this GPU with this TensorRT",
                found=self._messages.said(),
                fix="verify it on a host of its own target",
            )
        self._context = engine.create_execution_context()
        if self._context is None:
            raise _no_memory(self._messages.said())
        self._stream = self._cuda.Stream()
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        is_input = self._trt.TensorIOMode.INPUT
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == is_input]
        self._allocators: dict[str, Any] = {}  # the context points to them
        self._outputs = [name for name in names if name not in self._inputs]

    def run(self, inputs: Arrays) -> Arrays:
        """Return the outputs for `inputs`, by name, with the engine's own element types.

        Raises:
            VerificationFailed: the engine does not take the inputs, or stops with an error.
            GpuUnavailable: the GPU is out of memory.
        """
        buffers = Buffers(self._cuda)
        try:
            for name in self._inputs:
                self._feed(name, inputs[name], buffers)
            self._prepare_outputs(buffers)
            if not self._context.execute_async_v3(self._stream.handle):
                raise self._failed("it ran into an error")
            self._stream.synchronize()
            return {name: buffers.fetch(name) for name in self._outputs}
        except self._cuda.MemoryError as error:
            raise _no_memory(str(error)) from error
        except self._cuda.Error as error:
            raise self._failed(str(error)) from error
        finally:
            buffers.free()

    def _feed(self, name: str, value: npt.NDArray[Any], buffers: Buffers) -> None:
        engine, context = self._engine, self._context
        # TensorRT 8 makes INT32 of INT64 inputs, and TensorRT-RTX makes FP32 of FP64.
        array = np.ascontiguousarray(value, dtype=self._dtype(name))
        if not context.set_input_shape(name, value.shape):
            raise self._failed(f"it does not take shape {list(value.shape)} for input {name}")
        on_host = engine.get_tensor_location(name) == self._trt.TensorLocation.HOST
        context.set_tensor_address(name, buffers.put(name, array, on_host=on_host))

    def _prepare_outputs(self, buffers: Buffers) -> None:
        engine, context = self._engine, self._context
        missing = context.infer_shapes()
        if missing:
            raise self._failed(f"it still needs {', '.join(missing)}")
        for name in self._outputs:
            shape, dtype = tuple(context.get_tensor_shape(name)), self._dtype(name)
            if min(shape, default=0) < 0:  # only the values decide
                self._allocators[name] = output_allocator(self._trt, buffers, name, dtype)
                context.set_output_allocator(name, self._allocators[name])
                continue
            on_host = engine.get_tensor_location(name) == self._trt.TensorLocation.HOST
            context.set_tensor_address(name, buffers.make(name, shape, dtype, on_host=on_host))

    def _dtype(self, name: str) -> npt.DTypeLike:
        return np.dtype(numpy_type(self._engine.get_tensor_dtype(name), name))

    def _failed(self, what: str) -> VerificationFailed:
        return VerificationFailed(
            wanted="the engine to run on the reference inputs",
            found=f"{what}: {self._messages.said()}",
            fix="look at the engine's shapes in its record, and build it again with another TensorRT",
        )

    def close(self) -> None:
        """Free the engine and leave the GPU."""
        del self._stream, self._context, self._engine, self._runtime
        self._device_context.pop()


def _primary_context(cuda: Any, gpu_index: int) -> Any:
    """Return the GPU's own context, made current: the one that TensorRT uses, too."""
    try:
        cuda.init()
        device_context = cuda.Device(gpu_index).retain_primary_context()
        device_context.push()
    except cuda.Error as error:
        raise GpuUnavailable(
            wanted=f"the GPU with index {gpu_index}",
            found=str(error),
            fix="see in nvidia-smi whether it is there and what else runs on it",
        ) from error
    return device_context


def _no_memory(found: str) -> GpuUnavailable:
    return GpuUnavailable(
        wanted="memory on the GPU for the engine and its tensors",
        found=found,
        fix="end what else runs on the GPU, or lower the largest shapes in build.yaml",
    )
