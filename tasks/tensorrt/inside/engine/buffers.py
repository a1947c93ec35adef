"""Memory for an engine's tensors, on the GPU and page-locked on the host; it is freed together."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt


class Buffers:
    """Up to two buffers for each tensor; they are kept between runs, and only grow.

    An address or array is valid until more is requested under its name, or until `free`. A tensor without
    elements gets an address, too.
    """

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._device: dict[str, tuple[Any, int]] = {}
        self._host: dict[str, npt.NDArray[np.uint8]] = {}

    def on_host(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return the page-locked array of a tensor, in this form, with undefined contents."""
        size = prod(shape) * np.dtype(dtype).itemsize
        if name not in self._host or self._host[name].nbytes < size:
            self._free_host(name)
            self._host[name] = self._cuda.pagelocked_empty(max(size, 1), np.uint8)
        return self._host[name][:size].view(dtype).reshape(shape)

    def on_gpu(self, name: str, size: int) -> int:
        """Return the address of at least `size` bytes on the GPU, with undefined contents."""
        if name not in self._device or self._device[name][1] < size:
            self._free_device(name)
            self._device[name] = self._cuda.mem_alloc(max(size, 1)), max(size, 1)
        return int(self._device[name][0])

    def upload(self, name: str, array: npt.NDArray[Any], stream: Any) -> None:
        """Start the copy of `array`, which `on_host` returned, to the tensor's buffer on the GPU."""
        if array.nbytes:
            self._cuda.memcpy_htod_async(self._device[name][0], array, stream)

    def download(self, name: str, array: npt.NDArray[Any], stream: Any) -> None:
        """Start the copy of the tensor's buffer on the GPU to `array`, which `on_host` returned."""
        if array.nbytes:
            self._cuda.memcpy_dtoh_async(array, self._device[name][0], stream)

    def free(self) -> None:
        """Free all memory.

        Each piece is freed even if others fail: after an error on the GPU the driver refuses all calls, and
        that first error is the one to report.
        """
        for name in list(self._device):
            with suppress(self._cuda.Error):
                self._free_device(name)
        for name in list(self._host):
            with suppress(self._cuda.Error):
                self._free_host(name)

    def _free_device(self, name: str) -> None:
        if name in self._device:
            self._device.pop(name)[0].free()

    def _free_host(self, name: str) -> None:
        if name in self._host:
            allocation: Any = self._host.pop(name).base
            allocation.free()


def output_allocator(
    trt: Any, buffers: Buffers, name: str, tell_shape: Callable[[str, tuple[int, ...]], None]
) -> Any:
    """Return an allocator by which TensorRT gets memory for output `name`, whose shape depends on values.

    Its attribute `failed` is the error of a failed allocation, or None.
    """

    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.failed: Exception | None = None

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            del tensor_name, memory, alignment  # the driver aligns to 256 bytes
            self.failed = None
            try:
                return buffers.on_gpu(name, size)
            except Exception as error:  # noqa: BLE001 (it must not run through TensorRT, which ends the run)
                self.failed = error
                return 0

        def reallocate_output_async(
            self, tensor_name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            del stream
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            del tensor_name
            tell_shape(name, tuple(shape))

    return Allocator()
