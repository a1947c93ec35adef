"""The primary context of a GPU: the one that TensorRT works in, and that pycuda must hold current for it."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.domain.errors import GpuUnavailable, InputInvalid

# pycuda pushes a primary context when it lets go of it, and does not pop it again: the context that a user
# has made would no longer be the current one. TensorRT's CUDA runtime keeps it for as long as the process
# lives anyway. A context of pycuda belongs to one thread.
_retained = threading.local()


class DeviceContext:
    """The primary context of one GPU, for the thread that makes this.

    What was current before is current again after `current` and `leave`. pycuda has one stack for each
    thread: what is entered last must be left first, where the contexts are of several GPUs.

    Raises:
        GpuUnavailable: there is no such GPU.
    """

    def __init__(self, cuda: Any, gpu_index: int) -> None:
        self._primary = _primary_context(cuda, gpu_index)
        self._entered = 0
        self._thread = threading.get_ident()

    def require_thread(self) -> None:
        """Refuse all threads but the one that made this.

        Raises:
            InputInvalid: this is another one.
        """
        if threading.get_ident() != self._thread:
            raise InputInvalid(
                wanted="the thread that opened the engine",
                found="another thread",
                fix="open the engine in each thread that uses it",
            )

    @contextmanager
    def current(self) -> Iterator[None]:
        """Hold the context current."""
        self._primary.push()
        try:
            yield
        finally:
            self._primary.pop()

    def enter(self) -> None:
        """Hold the context current until `leave`."""
        self._primary.push()
        self._entered += 1
        if self._entered == 1:
            atexit.register(self._leave_all)

    def leave(self) -> None:
        """Make current what was so before `enter`."""
        self._entered -= 1
        if not self._entered:
            atexit.unregister(self._leave_all)
        self._primary.pop()

    def _leave_all(self) -> None:
        """Leave at the end of the process: pycuda aborts it where its stack is not empty then."""
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
                fix="see in nvidia-smi whether it is there and what else runs on it",
            ) from error
    return contexts[cuda, gpu_index]
