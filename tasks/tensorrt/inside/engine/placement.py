"""Where one execution context reads and writes: its stream, its shapes and its buffers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy.typing as npt

from tasks.domain.errors import GpuUnavailable, RunFailed
from tasks.tensorrt.inside.engine.buffers import Buffers, output_allocator
from tasks.tensorrt.inside.engine.signature import Arrays, Shape, Signature
from tasks.tensorrt.inside.messages import Messages


class Placement:
    """An execution context with all that it works on.

    The GPU's context must be current in every call. TensorRT's objects are kept in attributes only: a local
    variable would hold them for as long as somebody looks at the traceback of an error.

    Raises:
        GpuUnavailable: the GPU has no memory for the context.
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
        """Say whether TensorRT wants a tensor's address on the host: its values decide shapes."""
        return bool(self._engine.get_tensor_location(name) == self._trt.TensorLocation.HOST)

    @property
    def profile(self) -> int | None:
        """The profile in use; None before the first run."""
        return None if self._form is None else self._form[0]

    @property
    def why_no_graph(self) -> str | None:
        """Why what is set now cannot be captured as a CUDA graph; None if nothing forbids it."""
        if self._allocators:
            return (
                f"that values decide the shape of {', '.join(self._allocators)}, so memory is allocated again"
            )
        if self._host:
            return f"that {', '.join(sorted(self._host))} is read or written on the host"
        return None

    def put(self, arrays: Arrays, profile: int) -> None:
        """Start to copy the inputs to the GPU, and set profile, shapes and addresses where they changed.

        Raises:
            RunFailed: TensorRT does not take them.
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
            self._require(done, f"it does not take profile {profile}")

    def _put_input(self, name: str, array: npt.NDArray[Any], *, changed: bool) -> None:
        held = self._buffers.on_host(name, array.shape, array.dtype)
        held[...] = array
        if name in self._host:
            address = int(held.ctypes.data)
        else:
            address = self._buffers.on_gpu(name, array.nbytes)
            self._buffers.upload(name, held, self.stream)
        if changed:
            taken = self.context.set_input_shape(name, array.shape)
            self._require(taken, f"it does not take shape {list(array.shape)} for input {name}")
            self._set_address(name, address)

    def _set_outputs(self) -> None:
        missing = self.context.infer_shapes()
        self._require(not missing, f"it still needs {', '.join(missing)}")
        for tensor in self._signature.outputs:
            name, shape = tensor.name, tuple(int(size) for size in self.context.get_tensor_shape(tensor.name))
            if min(shape, default=0) < 0 or name in self._allocators:  # only the values decide
                self._allocate_later(name)
                continue
            self._shapes[name] = shape
            held = self._buffers.on_host(name, shape, tensor.dtype)
            on_host = name in self._host
            self._set_address(
                name, int(held.ctypes.data) if on_host else self._buffers.on_gpu(name, held.nbytes)
            )

    def _allocate_later(self, name: str) -> None:
        if name not in self._allocators:
            self._allocators[name] = output_allocator(
                self._trt, self._buffers, name, self._shapes.__setitem__
            )
        done = self.context.set_output_allocator(name, self._allocators[name])
        self._require(done, f"it takes no allocator for {name}")

    def _set_address(self, name: str, address: int) -> None:
        self._require(self.context.set_tensor_address(name, address), f"it takes no address for {name}")

    def enqueue(self) -> bool:
        """Put one inference on the stream; return whether TensorRT could."""
        return bool(self.context.execute_async_v3(self.stream.handle))

    def fetch(self) -> Arrays:
        """Wait for the stream and return copies of the outputs."""
        if self._allocators:
            self.stream.synchronize()  # only now are their shapes known
        held = {}
        for tensor in self._signature.outputs:
            name = tensor.name
            self._require(name in self._shapes, f"it has not told the shape of {name}")
            held[name] = self._buffers.on_host(name, self._shapes[name], tensor.dtype)
            if name not in self._host:
                self._buffers.download(name, held[name], self.stream)
        self.stream.synchronize()
        return {name: array.copy() for name, array in held.items()}

    def forget(self) -> None:
        """After an error: wait for what still runs, and set everything anew next time."""
        self._form = None
        for allocator in self._allocators.values():
            allocator.failed = None
        self.wait()

    def wait(self) -> None:
        """Wait for what is on the stream, however it ends."""
        with suppress(self._cuda.Error):
            self.stream.synchronize()

    def failed(self, what: str) -> RunFailed | GpuUnavailable:
        """Return the error for a run that ended at `what`."""
        for allocator in self._allocators.values():
            if allocator.failed is not None:
                return no_memory(str(allocator.failed))
        return run_failed(f"{what}: {self._messages.said()}")

    def _require(self, done: object, otherwise: str) -> None:
        if not done:
            raise self.failed(otherwise)

    def free(self) -> None:
        """Free the context, then what it points to."""
        self.context = self._engine = None
        self._allocators.clear()
        self.stream = None
        self._buffers.free()


def run_failed(problem: str) -> RunFailed:
    """Return the error for an engine that stopped with an error."""
    return RunFailed(
        wanted="the engine to run on these inputs",
        found=problem,
        fix="hold the inputs against the shapes in the engine's record; if they fit, build the engine again, "
        "with another TensorRT where that gives the same",
    )


def no_memory(problem: str) -> GpuUnavailable:
    """Return the error for a GPU without enough free memory."""
    return GpuUnavailable(
        wanted="memory on the GPU for the engine and its tensors",
        found=problem,
        fix="end what else runs on the GPU, or lower the largest shapes in build.yaml",
    )
