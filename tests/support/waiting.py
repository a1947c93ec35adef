"""Waiting for what other processes, threads and tasks do: for a condition, never for a guess of its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

PATIENCE = 300.0
"""How many seconds a test waits for anything before it fails: a machine under load takes many times what an
idle one does. pytest's own time-out comes after it, and cannot say what was waited for."""

_POLL_SECONDS = 0.1


def wait_until(
    condition: Callable[[], Any],
    what: object | Callable[[], object] = "",
    *,
    seconds: float = PATIENCE,
    every: float = _POLL_SECONDS,
) -> Any:
    """Return what `condition` returns once that is true.

    Args:
        condition: asked again and again.
        what: is waited for, or a function that says how things stand; for the failure's message.
        seconds: after which the test fails.
        every: how many seconds lie between two looks; a look that costs much is taken less often.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        _check(deadline, what, seconds)
        time.sleep(every)
    return value


async def until(
    condition: Callable[[], Any],
    what: object | Callable[[], object] = "",
    *,
    seconds: float = PATIENCE,
    every: float = _POLL_SECONDS,
) -> Any:
    """Do as `wait_until`, and let other tasks go on."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        _check(deadline, what, seconds)
        await asyncio.sleep(every)
    return value


def _check(deadline: float, what: object | Callable[[], object], seconds: float) -> None:
    if time.monotonic() > deadline:
        pytest.fail(f"not within {seconds:.0f} s: {what() if callable(what) else what}")
