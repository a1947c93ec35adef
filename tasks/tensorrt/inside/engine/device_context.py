"""The primary context of a GPU: TensorRT works in it, and pycuda needs it to be current."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.domain.errors import GpuUnavailable, InputInvalid

# When pycuda releases a primary context, it pushes the context and never pops it: a user's own context would
# no longer be current. TensorRT's CUDA runtime keeps the context for the life of the process anyway. A
# context of pycuda belongs to one thread.
_retained = threading.local()


class DeviceContext:
    """The primary context of one GPU, for the thread that makes this object.

    `current` and `leave` restore the context that was current before. pycuda has one stack for each thread:
    contexts of several GPUs must be left in reverse order.

    Raises:
        GpuUnavailable: there is no such GPU.
    """

    def __init__(self, cuda: Any, gpu_index: int) -> None:
        self._primary = _primary_context(cuda, gpu_index)
        self._entered = 0
        self._thread = threading.get_ident()

    def require_thread(self) -> None:
        """Refuse all threads but the one that made this object.

        Raises:
            InputInvalid: this is another thread.
        """
        if threading.get_ident() != self._thread:
            raise InputInvalid(
                wanted="the thread that opened the engine",
                found="another thread",
                fix="open the engine in each thread that uses it",
            )

    @contextmanager
    def current(self) -> Iterator[None]:
        """Keep the context current during the body."""
        self._primary.push()
        try:
            yield
        finally:
            self._primary.pop()

    def enter(self) -> None:
        """Keep the context current until `leave`."""
        self._primary.push()
        self._entered += 1
        if self._entered == 1:
            atexit.register(self._leave_all)

    def leave(self) -> None:
        """Restore the context that was current before `enter`."""
        self._entered -= 1
        if not self._entered:
            atexit.unregister(self._leave_all)
        self._primary.pop()

    def _leave_all(self) -> None:
        """Leave at the end of the process: pycuda aborts it if its stack is not empty then."""
        while self._entered and threading.get_ident() == self._thread:
            self.leave()


def _primary_context(cuda: Any, gpu_index: int) -> Any:
    contexts = _retained.__dict__.setdefault("contexts", {})
    if (cuda, gpu_index) not in contexts:
        try:
            cuda.init()
            contexts[cuda, gpu_index] = cuda.Device(gpu_index).retain_primary_context()
        except cuda.Error as error:
            raise GpuUnavailable(
                wanted=f"the GPU with index {gpu_index}",
                found=str(error),
                fix="check in nvidia-smi whether it exists and what else runs on it",
            ) from error
    return contexts[cuda, gpu_index]
