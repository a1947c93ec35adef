"""An engine that is ready to run on inputs in GPU memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from tasks.domain.errors import InputInvalid
from tasks.tensorrt.inside.engine.cuda_graph import CudaGraph
from tasks.tensorrt.inside.engine.device_context import DeviceContext
from tasks.tensorrt.inside.engine.placement import Placement
from tasks.tensorrt.inside.engine.signature import Arrays


class Bound:
    """Buffers are allocated, inputs on the GPU, addresses and shapes set. Use `Runner.bind`.

    From `Runner.bind` to `close` the GPU's primary context is current in the thread.

    Attributes:
        context: TensorRT's execution context.
        stream: pycuda's stream that everything runs on.
    """

    def __init__(
        self,
        placement: Placement,
        device: DeviceContext,
        working: Callable[[], AbstractContextManager[None]],
        closed: Callable[[], None],
    ) -> None:
        self._placement, self._device, self._working, self._closed = placement, device, working, closed
        self.context: Any = placement.context
        self.stream: Any = placement.stream
        self._graph: CudaGraph | None = None
        self._handle: int = self.stream.handle
        self._execute: Callable[[int], object] = self.context.execute_async_v3
        self._open = True
        device.enter()

    def capture(self) -> None:
        """Let `enqueue` launch a CUDA graph from now on.

        Raises:
            InputInvalid: the engine's work cannot be captured.
            RunFailed: it stopped with an error.
        """
        reason = self._placement.why_no_graph
        if reason is not None:
            raise InputInvalid(
                wanted="a CUDA graph of the engine's work", found=reason, fix="bind without graph=True"
            )
        with self._working():
            self.enqueue()  # the set-up at the first run with new shapes cannot be captured
            self.stream.synchronize()
            self._graph = CudaGraph(self._placement.enqueue, self._handle)
        self._execute = self._graph.launch

    def enqueue(self) -> None:
        """Put one inference on the stream, without copies or synchronisation.

        Raises:
            RunFailed: TensorRT or the driver refuses; errors on the GPU only show when it is waited for.
        """
        if not self._execute(self._handle):
            raise self._placement.failed("it ran into an error")

    def synchronize(self) -> None:
        """Wait for everything on the stream.

        Raises:
            RunFailed: something on it ended with an error.
        """
        self._require_open()
        with self._working():
            self.stream.synchronize()

    def fetch(self) -> Arrays:
        """Wait for the stream and return the outputs of the last inference, which must be enqueued already.

        Raises:
            RunFailed: something on the stream ended with an error.
            GpuUnavailable: there is no memory for an output.
        """
        self._require_open()
        with self._working():
            return self._placement.fetch()

    def close(self) -> None:
        """Wait for running work, and return the engine to its runner, which keeps the buffers."""
        if not self._open:
            return
        self._device.require_thread()
        self._open, self._execute = False, _refuse
        self._placement.wait()
        try:
            if self._graph is not None:
                self._graph.free()
        finally:
            self._graph = self.context = self.stream = None
            self._device.leave()
            self._closed()

    def _require_open(self) -> None:
        self._device.require_thread()
        if not self._open:
            _refuse(self._handle)

    def __enter__(self) -> Bound:  # noqa: PYI034 (Python 3.10 has no Self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _refuse(handle: int) -> object:
    del handle
    raise InputInvalid(wanted="an open bound run", found="a closed one", fix="bind the inputs again")
