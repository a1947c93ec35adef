"""The stream, shapes and buffers of one execution context."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy.typing as npt

from tasks.domain.errors import GpuUnavailable, RunFailed
from tasks.tensorrt.inside.engine.buffers import Buffers, output_allocator
from tasks.tensorrt.inside.engine.signature import Arrays, Shape, Signature
from tasks.tensorrt.inside.messages import Messages


class Placement:
    """An execution context with everything that it works on.

    The GPU's context must be current in every call. TensorRT's objects are kept in attributes only: a local
    variable would keep them alive as long as an error's traceback.

    Raises:
        GpuUnavailable: the GPU lacks memory for the context.
    """

    def __init__(self, trt: Any, cuda: Any, engine: Any, signature: Signature, messages: Messages) -> None:
        self._trt, self._cuda, self._engine, self._messages = trt, cuda, engine, messages
        self._signature = signature
        self._types = {tensor.name: tensor.dtype for tensor in (*signature.inputs, *signature.outputs)}
        self._buffers = Buffers(cuda)
        self._allocators: dict[str, Any] = {}  # the context points to them
        self._shapes: dict[str, Shape] = {}  # of the outputs
        self._form: tuple[int, dict[str, Shape]] | None = None
        self._host = {name for name in self._types if self._is_on_host(name)}
        self._reads_host = any(tensor.name in self._host for tensor in signature.inputs)
        self.stream = cuda.Stream()
        self.context = engine.create_execution_context()
        if self.context is None:
            raise no_memory(messages.said())

    def _is_on_host(self, name: str) -> bool:
        """Return whether TensorRT needs a tensor's address on the host: its values determine shapes."""
        return bool(self._engine.get_tensor_location(name) == self._trt.TensorLocation.HOST)

    @property
    def profile(self) -> int | None:
        """The active profile; None before the first run."""
        return None if self._form is None else self._form[0]

    @property
    def why_no_graph(self) -> str | None:
        """Why the current work cannot be captured as a CUDA graph; None if it can."""
        if self._allocators:
            return f"that the shape of {', '.join(self._allocators)} depends on values: runs allocate"
        if self._host:
            return f"that {', '.join(sorted(self._host))} is read or written on the host"
        return None

    def put(self, arrays: Arrays, profile: int) -> None:
        """Start to copy the inputs to the GPU; set profile, shapes and addresses if they changed.

        Raises:
            RunFailed: TensorRT refuses them.
        """
        form = profile, {name: array.shape for name, array in arrays.items()}
        changed = form != self._form or self._reads_host
        if changed:
            self._form = None
            self._set_profile(profile)
        for name, array in arrays.items():
            self._put_input(name, array, changed=changed)
        if changed:
            self._set_outputs()
            self._form = form

    def _set_profile(self, profile: int) -> None:
        if self.context.active_optimization_profile != profile:
            done = self.context.set_optimization_profile_async(profile, self.stream.handle)
            self._require(done, f"it refuses profile {profile}")

    def _put_input(self, name: str, array: npt.NDArray[Any], *, changed: bool) -> None:
        staged = self._buffers.on_host(name, array.shape, array.dtype)
        staged[...] = array
        if name in self._host:
            address = int(staged.ctypes.data)
        else:
            address = self._buffers.on_gpu(name, array.nbytes)
            self._buffers.upload(name, staged, self.stream)
        if changed:
            taken = self.context.set_input_shape(name, array.shape)
            self._require(taken, f"it refuses shape {list(array.shape)} for input {name}")
            self._set_address(name, address)

    def _set_outputs(self) -> None:
        missing = self.context.infer_shapes()
        self._require(not missing, f"it still lacks {', '.join(missing)}")
        for tensor in self._signature.outputs:
            name, shape = tensor.name, tuple(int(size) for size in self.context.get_tensor_shape(tensor.name))
            if min(shape, default=0) < 0 or name in self._allocators:  # the values determine the shape
                self._allocate_later(name)
                continue
            self._shapes[name] = shape
            buffer = self._buffers.on_host(name, shape, tensor.dtype)
            on_host = name in self._host
            self._set_address(
                name, int(buffer.ctypes.data) if on_host else self._buffers.on_gpu(name, buffer.nbytes)
            )

    def _allocate_later(self, name: str) -> None:
        if name not in self._allocators:
            self._allocators[name] = output_allocator(
                self._trt, self._buffers, name, self._shapes.__setitem__
            )
        done = self.context.set_output_allocator(name, self._allocators[name])
        self._require(done, f"it refuses an allocator for {name}")

    def _set_address(self, name: str, address: int) -> None:
        self._require(self.context.set_tensor_address(name, address), f"it refuses an address for {name}")

    def enqueue(self) -> bool:
        """Put one inference on the stream; return whether TensorRT could."""
        return bool(self.context.execute_async_v3(self.stream.handle))

    def fetch(self) -> Arrays:
        """Wait for the stream and return copies of the outputs."""
        if self._allocators:
            self.stream.synchronize()  # only now are their shapes known
        buffers = {}
        for tensor in self._signature.outputs:
            name = tensor.name
            self._require(name in self._shapes, f"it did not report the shape of {name}")
            buffers[name] = self._buffers.on_host(name, self._shapes[name], tensor.dtype)
            if name not in self._host:
                self._buffers.download(name, buffers[name], self.stream)
        self.stream.synchronize()
        return {name: array.copy() for name, array in buffers.items()}

    def forget(self) -> None:
        """After an error, wait for running work, and set everything again at the next run."""
        self._form = None
        for allocator in self._allocators.values():
            allocator.failed = None
        self.wait()

    def wait(self) -> None:
        """Wait for the work on the stream, whether it fails or not."""
        with suppress(self._cuda.Error):
            self.stream.synchronize()

    def failed(self, what: str) -> RunFailed | GpuUnavailable:
        """Return the error for a run that failed with `what`."""
        for allocator in self._allocators.values():
            if allocator.failed is not None:
                return no_memory(str(allocator.failed))
        return run_failed(f"{what}: {self._messages.said()}")

    def _require(self, done: object, otherwise: str) -> None:
        if not done:
            raise self.failed(otherwise)

    def free(self) -> None:
        """Free the context, then its buffers."""
        self.context = self._engine = None
        self._allocators.clear()
        self.stream = None
        self._buffers.free()


def run_failed(problem: str) -> RunFailed:
    """Return the error for an engine that stopped with an error."""
    return RunFailed(
        wanted="the engine to run on these inputs",
        found=problem,
        fix="check the inputs against the shapes in the engine's record; if they fit, build again, "
        "and with another TensorRT if it still fails",
    )


def no_memory(problem: str) -> GpuUnavailable:
    """Return the error for a GPU without enough free memory."""
    return GpuUnavailable(
        wanted="memory on the GPU for the engine and its tensors",
        found=problem,
        fix="end other processes on the GPU, or lower the largest shapes in build.yaml",
    )
