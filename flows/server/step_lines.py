"""Lines about steps for a command that builds on this host: what the log of a run has on a farm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SHOW: ContextVar[Callable[[str], None] | None] = ContextVar("show", default=None)


@contextmanager
def step_lines(show: Callable[[str], None]) -> Iterator[None]:
    """Give each line that is logged inside to `show` as well."""
    token = _SHOW.set(show)
    try:
        yield
    finally:
        _SHOW.reset(token)


def show_step(text: str) -> None:
    """Give a line to whatever shows lines here."""
    show = _SHOW.get()
    if show is not None:
        show(text)
