"""Progress of long steps, for optional listeners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

ProgressSink: TypeAlias = Callable[[str, str, float], None]
"""Takes the name of a step, its current phase, and the completed fraction, 0 to 1."""


def _ignore(step: str, phase: str, fraction: float) -> None:
    del step, phase, fraction


_SINK: ContextVar[ProgressSink] = ContextVar("progress_sink", default=_ignore)


def report_progress(step: str, phase: str, fraction: float) -> None:
    """Report progress to the listener in this context, if any."""
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
    """Also send the progress of everything that starts inside to `sink`."""
    outer = _SINK.get()

    def both(step: str, phase: str, fraction: float) -> None:
        outer(step, phase, fraction)
        sink(step, phase, fraction)

    with listening(both):
        yield


@contextmanager
def labelled(label: str) -> Iterator[None]:
    """Add `label` to the names of all steps that run inside, to tell parallel ones apart."""
    outer = _SINK.get()
    with listening(lambda step, phase, fraction: outer(f"{step} {label}", phase, fraction)):
        yield
