"""Makes a result once: one host makes it under a lease, and the others poll the store for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from tasks.domain.errors import FarmError
from tasks.store.lease import Lease
from tasks.store.patience import retry_while_s3_is_down

T = TypeVar("T")

_BEATS = 3
_POLL_SECONDS = 1.0
_LOG = logging.getLogger(__name__)


async def make_once(
    lease: Lease, find: Callable[[], Awaitable[T | None]], make: Callable[[], Awaitable[T]]
) -> T:
    """Return the result of `find`, or `make` it while all others with the same lease wait.

    Args:
        lease: of the result, not taken yet.
        find: looks for the result in the store; polled while another host holds the lease.
        make: makes the result and stores it, so that `find` then finds it.

    Raises:
        FarmError: of `find` and `make`, also of another host's `make` if it is about the request; and as
            `s3_errors`.
    """
    while True:
        result = await find()
        if result is not None:
            return result
        if await retry_while_s3_is_down(lease.take):
            break
        # Jitter, so that hosts do not all poll at the same moment.
        await asyncio.sleep(min(_POLL_SECONDS, lease.seconds / _BEATS) * random.uniform(0.5, 1.5))  # noqa: S311
    async with _renewed(lease):
        result = await find()  # the last holder may have finished since our last poll
        return result if result is not None else await make()


@contextlib.asynccontextmanager
async def _renewed(lease: Lease) -> AsyncIterator[None]:
    """Renew the `lease` in the background, and give it back at the end."""
    done = asyncio.Event()
    beats = asyncio.create_task(_renew_until(done, lease))
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        done.set()
        await asyncio.wait({beats})  # not `await beats`: that may swallow a cancellation of this task
        try:
            await asyncio.shield(asyncio.to_thread(lease.release, failure))
        except FarmError as error:
            _LOG.warning("%s", error)


async def _renew_until(done: asyncio.Event, lease: Lease) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), lease.seconds / _BEATS)
            return
        try:
            if not await asyncio.to_thread(lease.renew):
                _LOG.warning("another host took over the lease of %s: the work may be done twice", lease.key)
                return
        except FarmError as error:
            _LOG.warning("%s", error)
