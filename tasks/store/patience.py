"""Retries while S3 does not answer: by then a run may have hours of work to lose."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeVar

from tasks.children.progress import report_progress
from tasks.domain.backoff import Backoff
from tasks.domain.errors import StoreUnreachable

T = TypeVar("T")

_BACKOFF = Backoff(first=1.0, longest=10.0, jitter=0.5)
_PATIENCE: ContextVar[float] = ContextVar("patience", default=0.0)
_LOG = logging.getLogger(__name__)


def be_patient(seconds: float) -> None:
    """Let this task, and all tasks that it starts, wait up to `seconds` for S3 at each outage."""
    _PATIENCE.set(seconds)


def is_patient() -> bool:
    """Return whether a `StoreUnreachable` raised here has waited for S3 already."""
    return _PATIENCE.get() > 0


async def retry_async_while_s3_is_down(work: Callable[[], Awaitable[T]]) -> T:
    """Return the result of `work`; retry while S3 does not answer, as long as `be_patient` allows here.

    Raises:
        StoreUnreachable: S3 was away for too long.
        Exception: any other exception of `work`.
    """
    away: float | None = None
    pauses = iter(_BACKOFF)
    while True:
        try:
            return await work()
        except StoreUnreachable as error:
            now = time.monotonic()
            away = now if away is None else away
            if now - away >= _PATIENCE.get():
                raise
            _LOG.warning("waiting for S3, for %.0f s now: %s", now - away, error.found)
            report_progress("wait for S3", "", 0.0)
        await asyncio.sleep(next(pauses))


async def retry_while_s3_is_down(call: Callable[[], T]) -> T:
    """Return the result of the blocking `call` in a thread; see `retry_async_while_s3_is_down`."""
    return await retry_async_while_s3_is_down(lambda: asyncio.to_thread(call))
