"""Where long steps say how far they are. Nobody has to listen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

ProgressSink: TypeAlias = Callable[[str, str, float], None]
"""Takes the name of a step, the phase that it is in, and the fraction that is done, 0 to 1."""


def _ignore(step: str, phase: str, fraction: float) -> None:
    del step, phase, fraction


_SINK: ContextVar[ProgressSink] = ContextVar("progress_sink", default=_ignore)


def report_progress(step: str, phase: str, fraction: float) -> None:
    """Tell whoever listens in this context."""
    _SINK.get()(step, phase, fraction)


@contextmanager
def listening(sink: ProgressSink) -> Iterator[None]:
    """Send the progress of everything that starts inside to `sink`."""
    token = _SINK.set(sink)
    try:
        yield
    finally:
        _SINK.reset(token)


@contextmanager
def overhearing(sink: ProgressSink) -> Iterator[None]:
    """Send the progress of everything that starts inside to `sink`, too."""
    outer = _SINK.get()

    def both(step: str, phase: str, fraction: float) -> None:
        outer(step, phase, fraction)
        sink(step, phase, fraction)

    with listening(both):
        yield


@contextmanager
def labelled(label: str) -> Iterator[None]:
    """Add `label` to the names of all steps that run inside, so that parallel ones can be told apart."""
    outer = _SINK.get()
    with listening(lambda step, phase, fraction: outer(f"{step} {label}", phase, fraction)):
        yield
