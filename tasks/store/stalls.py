"""Ends downloads that stall: with a read timeout alone, a byte every few seconds keeps one alive forever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

WINDOW_SECONDS = 60.0
"""How long the next chunk of a download may take."""

_SWEEP_SECONDS = 2.0
_LOCK = threading.Lock()
_RUNNING: set[Download] = set()
_watches: list[threading.Thread] = []


class Download:
    """A download that is being read.

    Attributes:
        stalled: whether it was ended because its next chunk did not come in time.
    """

    def __init__(self, end: Callable[[], object]) -> None:
        self.stalled = False
        self._end = end
        self._last = time.monotonic()

    def take_chunk(self) -> None:
        """Note that a chunk has arrived."""
        self._last = time.monotonic()

    def end_if_stalled(self) -> None:
        """End the download if its next chunk is overdue."""
        if not self.stalled and time.monotonic() - self._last > WINDOW_SECONDS:
            self.stalled = True
            with suppress(Exception):  # it may end at this moment by itself
                self._end()


@contextmanager
def ended_if_stalled(end: Callable[[], object]) -> Iterator[Download]:
    """Watch a download while it is read inside; `end` lets the thread that reads it return."""
    download = Download(end)
    with _LOCK:
        _RUNNING.add(download)
        if not any(watch.is_alive() for watch in _watches):  # none yet, or this process was forked
            _watches[:] = [threading.Thread(target=_watch, name="stalls", daemon=True)]
            _watches[0].start()
    try:
        yield download
    finally:
        with _LOCK:
            _RUNNING.discard(download)


def _watch() -> None:
    while True:
        time.sleep(_SWEEP_SECONDS)
        with _LOCK:
            running = list(_RUNNING)
        for download in running:
            download.end_if_stalled()
