"""CUDA graphs through the driver's own functions, which pycuda does not have."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from tasks.domain.errors import GpuUnavailable, InputInvalid
from tasks.tensorrt.inside.cuda import Driver, open_driver

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: CUDA calls of other threads are not blocked


class CudaGraph:
    """The captured work of one call on a stream, to be launched repeatedly. `free` destroys it.

    Args:
        enqueue: puts the work on the stream and returns whether it could; must not allocate or wait.
        stream: the handle of the stream, on which nothing is running.

    Raises:
        InputInvalid: the work cannot be captured.
    """

    def __init__(self, enqueue: Callable[[], bool], stream: int) -> None:
        self._stream = ctypes.c_void_p(stream)
        self._executable = ctypes.c_void_p()
        try:
            self._driver = open_driver()
            self._launch = self._driver.function("cuGraphLaunch")
            graph = _captured(self._driver, enqueue, self._stream)
            try:
                self._driver.call(
                    "cuGraphInstantiateWithFlags",
                    ctypes.byref(self._executable),
                    graph,
                    ctypes.c_ulonglong(0),
                )
            finally:
                self._driver.function("cuGraphDestroy")(graph)
        except GpuUnavailable as cause:
            raise _refused(f"{cause.found}, wanted {cause.wanted}") from cause
        except AttributeError as cause:
            raise _refused(f"a driver that is too old: {cause}") from cause

    def launch(self, stream: int) -> bool:
        """Put the work on its stream, which must always be the same; return whether that succeeded."""
        del stream
        return int(self._launch(self._executable, self._stream)) == 0

    def free(self) -> None:
        """Destroy the graph; the driver's status is ignored.

        After an error on the GPU the driver refuses this, too, and the first error is the one to report.
        """
        self._driver.function("cuGraphExecDestroy")(self._executable)


def _captured(driver: Driver, enqueue: Callable[[], bool], stream: ctypes.c_void_p) -> ctypes.c_void_p:
    graph = ctypes.c_void_p()
    driver.call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)
    try:
        done = enqueue()
    finally:
        status = driver.function("cuStreamEndCapture")(stream, ctypes.byref(graph))
    if not done or status:
        if graph.value is not None:
            driver.function("cuGraphDestroy")(graph)
        raise _refused(
            f"CUDA error {status} at the end of the capture"
            if status
            else "that TensorRT stopped during the capture"
        )
    return graph


def _refused(problem: str) -> InputInvalid:
    return InputInvalid(
        wanted="a CUDA graph of the engine's work on its stream",
        found=problem,
        fix="bind without graph=True: this engine does something that cannot be captured",
    )
