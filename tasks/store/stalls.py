"""Ends calls and downloads that stall: a byte every few seconds keeps any read timeout from helping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

WINDOW_SECONDS = 60.0
"""How long the next MiB of an object, or the whole answer to a call, may take."""

_SWEEP_SECONDS = 2.0
_LOCK = threading.Lock()
_RUNNING: set[Exchange] = set()
_watches: list[threading.Thread] = []


class Exchange:
    """A call or a download that goes on.

    Attributes:
        stalled: whether it was ended because it did not get on in time.
    """

    def __init__(self, end: Callable[[], object]) -> None:
        self.stalled = False
        self._end = end
        self._last = time.monotonic()

    def take_chunk(self) -> None:
        """Note that a chunk has gone through."""
        self._last = time.monotonic()

    def end_if_stalled(self) -> None:
        """End it if its next chunk is overdue; again and again, as it may have had no connection so far."""
        self.stalled = self.stalled or time.monotonic() - self._last > WINDOW_SECONDS
        if self.stalled:
            with suppress(Exception):  # it may end at this moment by itself
                self._end()


@contextmanager
def ended_if_stalled(end: Callable[[], object]) -> Iterator[Exchange]:
    """Watch what goes on inside; `end` lets the thread inside return."""
    exchange = Exchange(end)
    with _LOCK:
        _RUNNING.add(exchange)
        if not any(watch.is_alive() for watch in _watches):  # none yet, or this process was forked
            _watches[:] = [threading.Thread(target=_watch, name="stalls", daemon=True)]
            _watches[0].start()
    try:
        yield exchange
    finally:
        with _LOCK:
            _RUNNING.discard(exchange)


def _watch() -> None:
    while True:
        time.sleep(_SWEEP_SECONDS)
        with _LOCK:  # what is over is ended no more: another call may have its connection
            for exchange in _RUNNING:
                exchange.end_if_stalled()
