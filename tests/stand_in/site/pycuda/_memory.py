"""Memory and copies of the stand-in's pycuda."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tests.stand_in.hardware import contexts, memory, streams

from ._errors import LogicError, checked

if TYPE_CHECKING:
    from .driver import Stream


def current() -> int:
    """The GPU of the current context."""
    if not contexts():
        raise LogicError("context failed: invalid device context")
    return contexts()[-1]


class DeviceAllocation:
    """Memory on the current GPU."""

    def __init__(self, size: int) -> None:
        self._address = checked("cuMemAlloc", memory.allocate, size, current())

    def __int__(self) -> int:
        return int(self._address)

    def __index__(self) -> int:
        return int(self._address)

    def free(self) -> None:
        """Give it back."""
        if self._address:
            checked("cuMemFree", memory.release, self._address)
        self._address = 0

    def __del__(self) -> None:
        if getattr(self, "_address", 0):
            self.free()


def mem_alloc(size: int) -> DeviceAllocation:
    """Return new memory."""
    return DeviceAllocation(size)


class PagelockedHostAllocation:
    """Page-locked memory on the host; what NumPy names as the base of the array over it."""

    def __init__(self, shape: Any, dtype: npt.DTypeLike) -> None:
        self._array = np.empty(shape, dtype)
        self._address = memory.lock(self._array.reshape(-1).view(np.uint8))
        self.__array_interface__ = self._array.__array_interface__

    def free(self) -> None:
        """Give it back."""
        if self._address:
            memory.release(self._address)
        self._address = 0

    def __del__(self) -> None:
        self.free()


def pagelocked_empty(
    shape: Any, dtype: npt.DTypeLike, order: str = "C", mem_flags: int = 0
) -> npt.NDArray[Any]:
    """Return a page-locked array."""
    del order, mem_flags
    return np.asarray(PagelockedHostAllocation(shape, dtype))


def _bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if not array.flags.c_contiguous:
        raise LogicError("the array is not contiguous")
    return array.reshape(-1).view(np.uint8)


def _copy(function: str, stream: int, target: Any, source: Any) -> None:
    """Copy between arrays and addresses on a GPU."""
    size = target.nbytes if isinstance(target, np.ndarray) else source.nbytes

    def work() -> None:
        into, out_of = (
            _bytes(place) if isinstance(place, np.ndarray) else memory.at(int(place), size)
            for place in (target, source)
        )
        into[:] = out_of

    current()
    checked(function, streams.put, stream, work)


def memcpy_htod(target: Any, source: npt.NDArray[Any]) -> None:
    """Copy to the GPU."""
    _copy("cuMemcpyHtoD", 0, target, source)


def memcpy_dtoh(target: npt.NDArray[Any], source: Any) -> None:
    """Copy from the GPU."""
    _copy("cuMemcpyDtoH", 0, target, source)


def memcpy_htod_async(target: Any, source: npt.NDArray[Any], stream: Stream | None = None) -> None:
    """Copy to the GPU when the stream comes to it."""
    _copy("cuMemcpyHtoDAsync", 0 if stream is None else stream.handle, target, source)


def memcpy_dtoh_async(target: npt.NDArray[Any], source: Any, stream: Stream | None = None) -> None:
    """Copy from the GPU when the stream comes to it."""
    _copy("cuMemcpyDtoHAsync", 0 if stream is None else stream.handle, target, source)
