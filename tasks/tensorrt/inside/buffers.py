"""Memory for an engine's tensors, on the GPU or on the host, all of it freed together."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt


class Buffers:
    """One buffer for each tensor of a run.

    An address is valid until `free`; a tensor without elements still gets one.
    """

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._device: dict[str, Any] = {}
        self._host: dict[str, npt.NDArray[Any]] = {}
        self._forms: dict[str, tuple[tuple[int, ...], Any]] = {}

    def put(self, name: str, array: npt.NDArray[Any], *, on_host: bool) -> int:
        """Copy `array` to where TensorRT reads the tensor; return the address."""
        address = self.make(name, array.shape, array.dtype, on_host=on_host)
        if on_host:
            self._host[name].reshape(-1)[: array.size] = array.reshape(-1)
        elif array.nbytes:
            self._cuda.memcpy_htod(self._device[name], array)
        return address

    def make(self, name: str, shape: tuple[int, ...], dtype: Any, *, on_host: bool) -> int:
        """Return the address of new memory for a tensor."""
        self.set_form(name, shape, dtype)
        if on_host:
            self._host[name] = np.zeros(max(prod(shape), 1), dtype)
            return int(self._host[name].ctypes.data)
        return self.allocate(name, prod(shape) * np.dtype(dtype).itemsize)

    def allocate(self, name: str, size: int) -> int:
        """Return the address of `size` new bytes on the GPU; what the tensor had before is freed."""
        before = self._device.pop(name, None)
        if before is not None:
            before.free()
        self._device[name] = self._cuda.mem_alloc(max(size, 1))
        return int(self._device[name])

    def set_form(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        """Say what the buffer of a tensor holds."""
        self._forms[name] = (shape, np.dtype(dtype))

    def fetch(self, name: str) -> npt.NDArray[Any]:
        """Return a copy of a tensor."""
        shape, dtype = self._forms[name]
        if name in self._host:
            return self._host[name][: prod(shape)].reshape(shape).copy()
        array = np.empty(shape, dtype)
        if array.nbytes:
            self._cuda.memcpy_dtoh(array, self._device[name])
        return array

    def free(self) -> None:
        """Give all memory back."""
        for allocation in self._device.values():
            allocation.free()
        self._device.clear()
        self._host.clear()


def output_allocator(trt: Any, buffers: Buffers, name: str, dtype: Any) -> Any:
    """Return what gives TensorRT memory for an output whose shape depends on values."""

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            del tensor_name, memory, alignment  # the driver aligns to 256 bytes
            return buffers.allocate(name, size)

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            del stream
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            del tensor_name
            buffers.set_form(name, tuple(shape), dtype)

    return Allocator()
