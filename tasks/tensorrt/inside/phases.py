"""The phases of a child's work: reported, and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Phases:
    """Reports phases and keeps their times.

    Attributes:
        seconds: wall time of each completed phase.
    """

    def __init__(self, report: Callable[[str, float], None]) -> None:
        self._report = report
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, phase: str) -> Iterator[Callable[[float], None]]:
        """Run the body as `phase`; it gets a function that takes the completed fraction."""
        self._report(phase, 0.0)
        started = time.monotonic()
        yield lambda fraction: self._report(phase, fraction)
        self.seconds[phase] = time.monotonic() - started
        self._report(phase, 1.0)
