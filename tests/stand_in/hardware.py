"""The hardware of the stand-in: GPUs whose memory is host memory, and streams.

Stands in for NVIDIA GPUs in tests on machines without one; see `tests.stand_in.toolchain`. The driver,
pycuda and TensorRT of the stand-in share it. What is put on a stream is done at once, in order, so nothing
here is fast or parallel. Addresses are checked: what lies outside of an allocation is an error, as it is on
a GPU that is lucky.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CONFIG: dict[str, Any] = json.loads(Path(os.environ["ENGINEFARM_STAND_IN"]).read_text("utf-8"))
_ALIGNMENT = 256
_handles = itertools.count(1)

Work = Callable[[], None]


class Fault(Exception):
    """An error of the driver, with its number and name."""

    def __init__(self, number: int, name: str) -> None:
        super().__init__(f"{name} ({number})")
        self.number, self.name = number, name


def out_of_memory() -> Fault:
    return Fault(2, "CUDA_ERROR_OUT_OF_MEMORY")


@dataclass(frozen=True, kw_only=True)
class Board:
    """A GPU, or a slice of one (MIG), which has a parent then."""

    name: str
    uuid: str
    compute: str
    memory_mib: int
    parent: str | None

    @property
    def memory(self) -> int:
        return self.memory_mib << 20


def boards() -> list[Board]:
    """The GPUs that this process sees, in the order that CUDA_VISIBLE_DEVICES gives."""
    all_of_them = [Board(**entry) for entry in CONFIG["gpus"]]
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return all_of_them
    visible = []
    for name in wanted.split(","):
        if name.isdigit() and int(name) < len(all_of_them):
            visible.append(all_of_them[int(name)])
        elif any(board.uuid == name for board in all_of_them):
            visible += [board for board in all_of_them if board.uuid == name]
        else:
            break  # what follows an unknown name is not visible
    return visible


class _Thread(threading.local):
    def __init__(self) -> None:
        self.contexts: list[int] = []


_thread = _Thread()


def contexts() -> list[int]:
    """The stack of current contexts of this thread, each the index of its GPU."""
    return _thread.contexts


def current() -> int:
    """The index of the GPU that this thread works on: the first, as in CUDA's runtime, if none is current."""
    if not boards():
        raise Fault(100, "CUDA_ERROR_NO_DEVICE")
    return contexts()[-1] if contexts() else 0


class Memory:
    """All allocations of this process, on GPUs and page-locked on the host."""

    def __init__(self) -> None:
        self._blocks: dict[int, tuple[npt.NDArray[np.uint8], int | None]] = {}

    def allocate(self, size: int, gpu: int) -> int:
        if size <= 0:
            raise Fault(1, "CUDA_ERROR_INVALID_VALUE")
        if size > self.free_on(gpu):
            raise out_of_memory()
        array = np.empty(size + _ALIGNMENT, np.uint8)
        start = -array.ctypes.data % _ALIGNMENT
        return self._keep(array[start : start + size], gpu)

    def lock(self, array: npt.NDArray[np.uint8]) -> int:
        """Take memory of the host as page-locked."""
        return self._keep(array, None)

    def _keep(self, array: npt.NDArray[np.uint8], gpu: int | None) -> int:
        address = int(array.ctypes.data)
        self._blocks[address] = array, gpu
        return address

    def release(self, address: int) -> None:
        if self._blocks.pop(address, None) is None:
            raise Fault(1, "CUDA_ERROR_INVALID_VALUE")

    def at(self, address: int, size: int) -> npt.NDArray[np.uint8]:
        """The bytes of an allocation, or of a part of one."""
        for start, (array, _) in self._blocks.items():
            if start <= address and address + size <= start + array.nbytes:
                return array[address - start : address - start + size]
        raise Fault(700, "CUDA_ERROR_ILLEGAL_ADDRESS")

    def free_on(self, gpu: int) -> int:
        used = sum(array.nbytes for array, where in self._blocks.values() if where == gpu)
        return boards()[gpu].memory - used

    def count(self) -> int:
        """How many allocations there are."""
        return len(self._blocks)


class Streams:
    """Streams by handle; each may record what is put on it instead of doing it."""

    def __init__(self) -> None:
        self._recording: dict[int, list[Work] | None] = {0: None}
        self._graphs: dict[int, list[Work]] = {}

    def open(self) -> int:
        handle = next(_handles)
        self._recording[handle] = None
        return handle

    def close(self, handle: int) -> None:
        self._recording.pop(handle, None)

    def put(self, handle: int, work: Work) -> None:
        recorded = self._known(handle)
        if recorded is None:
            work()
        else:
            recorded.append(work)

    def wait(self, handle: int) -> None:
        if self._known(handle) is not None:
            raise Fault(900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")

    def record(self, handle: int) -> None:
        self.wait(handle)
        self._recording[handle] = []

    def end_recording(self, handle: int) -> int:
        recorded = self._known(handle)
        if recorded is None:
            raise Fault(901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")
        self._recording[handle] = None
        graph = next(_handles)
        self._graphs[graph] = recorded
        return graph

    def copy_graph(self, graph: int) -> int:
        copy = next(_handles)
        self._graphs[copy] = list(self._graphs[graph])
        return copy

    def launch(self, graph: int, handle: int) -> None:
        for work in self._graphs[graph]:
            self.put(handle, work)

    def drop_graph(self, graph: int) -> None:
        if self._graphs.pop(graph, None) is None:
            raise Fault(400, "CUDA_ERROR_INVALID_HANDLE")

    def _known(self, handle: int) -> list[Work] | None:
        if handle not in self._recording:
            raise Fault(400, "CUDA_ERROR_INVALID_HANDLE")
        return self._recording[handle]


class Clock:
    """Stands in for `time.perf_counter` where runs are `counted`: on any machine, only they take time."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def read(self) -> float:
        """Return the time; a look takes a microsecond."""
        self._seconds += 1e-6
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds += seconds


memory = Memory()
streams = Streams()
clock = Clock()


def wait_for_others(event: str, number: int) -> None:
    """Wait until `number` processes of this toolchain have noted `event`."""
    while Path(CONFIG["events"]).read_text("utf-8").count(f'"{event}"') < number:
        time.sleep(0.01)


def note(event: str, gpu: int) -> None:
    """Add a line to the file of events, which a test reads to see what happened when."""
    line = {"event": event, "pid": os.getpid(), "gpu": boards()[gpu].uuid, "time": time.monotonic()}
    with Path(CONFIG["events"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
