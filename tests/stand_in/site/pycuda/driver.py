"""Stands in for pycuda.driver, as far as the farm uses it."""

from __future__ import annotations

import time

from tests.stand_in.hardware import CONFIG, boards, contexts, memory, streams

from ._errors import Error, LaunchError, LogicError, MemoryError, RuntimeError, checked  # noqa: A004
from ._memory import (
    DeviceAllocation,
    PagelockedHostAllocation,
    current,
    mem_alloc,
    memcpy_dtoh,
    memcpy_dtoh_async,
    memcpy_htod,
    memcpy_htod_async,
    pagelocked_empty,
)

__all__ = [
    "Context",
    "Device",
    "DeviceAllocation",
    "Error",
    "Event",
    "LaunchError",
    "LogicError",
    "MemoryError",
    "PagelockedHostAllocation",
    "RuntimeError",
    "Stream",
    "get_driver_version",
    "init",
    "mem_alloc",
    "mem_get_info",
    "memcpy_dtoh",
    "memcpy_dtoh_async",
    "memcpy_htod",
    "memcpy_htod_async",
    "pagelocked_empty",
]

_initialised = False


def init(flags: int = 0) -> None:
    """Start."""
    del flags
    global _initialised  # noqa: PLW0603 (as the driver: once for the process)
    if CONFIG["driver"] == "absent" or not boards():
        raise RuntimeError("cuInit failed: no CUDA-capable device is detected")
    _initialised = True


def get_driver_version() -> int:
    """Return the version of CUDA that the driver has."""
    return 13000


def mem_get_info() -> tuple[int, int]:
    """Return free and all memory of the current GPU, in bytes."""
    return memory.free_on(current()), boards()[current()].memory


class Context:
    """The primary context of a GPU."""

    def __init__(self, gpu: int) -> None:
        self._gpu = gpu

    def push(self) -> None:
        """Make it current."""
        contexts().append(self._gpu)

    def detach(self) -> None:
        """Let go of it."""

    @staticmethod
    def pop() -> None:
        """Make current what was so before."""
        if not contexts():
            raise LogicError("cuCtxPopCurrent failed: invalid device context")
        contexts().pop()

    @staticmethod
    def synchronize() -> None:
        """Wait for everything."""

    @staticmethod
    def get_device() -> Device:
        """Return the GPU of the current context."""
        return Device(current())

    @staticmethod
    def getcurrent() -> Context:
        """Return the current context."""
        return Context(current())


class Device:
    """A GPU."""

    def __init__(self, index: int) -> None:
        if not _initialised:
            raise LogicError("cuDeviceGet failed: initialization error")
        if not 0 <= index < len(boards()):
            raise LogicError("cuDeviceGet failed: invalid device ordinal")
        self._index = index

    @staticmethod
    def count() -> int:
        """Return how many there are."""
        return len(boards())

    def name(self) -> str:
        """Return its model."""
        return boards()[self._index].name

    def compute_capability(self) -> tuple[int, int]:
        """Return its compute capability."""
        major, minor = boards()[self._index].compute.split(".")
        return int(major), int(minor)

    def total_memory(self) -> int:
        """Return its memory in bytes."""
        return boards()[self._index].memory

    def retain_primary_context(self) -> Context:
        """Return its primary context."""
        return Context(self._index)


class Stream:
    """A stream."""

    def __init__(self, flags: int = 0) -> None:
        del flags
        current()
        self.handle = streams.open()

    def synchronize(self) -> None:
        """Wait for what is on it."""
        checked("cuStreamSynchronize", streams.wait, self.handle)

    def is_done(self) -> bool:
        """Say whether nothing is on it."""
        return True

    def wait_for_event(self, event: Event) -> None:
        """Wait for `event` before what comes next."""

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            streams.close(self.handle)


class Event:
    """A point in time on a stream."""

    def __init__(self, flags: int = 0) -> None:
        del flags
        self._time = 0.0

    def record(self, stream: Stream | None = None) -> Event:
        """Take the time when the stream comes here."""
        checked("cuEventRecord", streams.put, 0 if stream is None else stream.handle, self._take)
        return self

    def _take(self) -> None:
        self._time = time.perf_counter()

    def synchronize(self) -> Event:
        """Wait for it."""
        return self

    def query(self) -> bool:
        """Say whether it has been."""
        return True

    def time_since(self, other: Event) -> float:
        """Return the milliseconds since `other`."""
        return (self._time - other._time) * 1000

    def time_till(self, other: Event) -> float:
        """Return the milliseconds until `other`."""
        return other.time_since(self)
