"""Prefect's server on SQLite, one transaction after the other.

SQLite lets one connection write at a time. The others look again after ever longer pauses, until luck gives
it to one of them; and a transaction that has read before another wrote fails at once with "database is
locked", which its caller tries again seconds later. Eight agents are enough for a run to wait longer for the
database than for its GPU. Within one process a queue does better: a transaction begins when the one before it
has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

_PATIENCE_SECONDS = 60.0  # as long as Prefect has SQLite wait


@dataclass
class _Turn:
    lasts: bool = True


# A task that was started within a transaction is of its turn, while that lasts.
_turn: ContextVar[_Turn | None] = ContextVar("turn", default=None)


# Workaround (Prefect 3.8.8): it begins most transactions on SQLite as DEFERRED and lets them compete, so some
# fail with "database is locked". Remove when its server queues them itself; 3.9.1 begins them as 3.8.8 does.
class SqliteInTurns(AioSqliteConfiguration):
    """A database in SQLite whose transactions in this process wait for each other in a queue."""

    def __init__(self, connection_url: str, patience: float = _PATIENCE_SECONDS) -> None:
        super().__init__(connection_url=connection_url)
        self._patience = patience
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    @asynccontextmanager
    async def begin_transaction(
        self,
        session: AsyncSession,
        with_for_update: bool = False,  # noqa: FBT001, FBT002 (Prefect's)
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        """Begin a transaction that may write, in its turn.

        One within another has that one's turn already, and one whose turn has not come after `patience`
        seconds begins all the same: both as Prefect begins them, so that what waits for itself ends.
        """
        queue = self._queues.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        around = _turn.get()
        if (around is not None and around.lasts) or not await _acquired(queue, self._patience):
            async with super().begin_transaction(session, with_for_update) as transaction:
                yield transaction
            return
        turn = _Turn()
        token = _turn.set(turn)
        try:
            async with super().begin_transaction(session, with_for_update=True) as transaction:
                yield transaction
        finally:
            _turn.reset(token)
            turn.lasts = False
            queue.release()


async def _acquired(queue: asyncio.Lock, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await queue.acquire()
    except TimeoutError:
        return False
    return True
