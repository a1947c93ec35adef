"""Prefect's server, as `prefect server start` starts it, without its stalls on SQLite.

**Turns.** SQLite lets one connection write at a time. The others poll with growing pauses, and none has
priority. A transaction that has read before another wrote fails at once with "database is locked", and its
caller retries it seconds later. With eight agents, a run already waits longer for the database than for its
GPU. Within one process, a queue is better: each transaction begins when the previous transaction has ended.

**Cursors.** Under Python 3.11, a cursor keeps a failed statement, and Python may free that cursor much later
in the event loop. Freeing it waits for its connection. If the connection waits for the database, and the
owner of the database waits for the event loop, the server is deadlocked until SQLite's timeout, a minute.
Python 3.12 does not keep failed statements.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self
from weakref import WeakKeyDictionary

from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import set_database_config
from prefect.server.utilities.database import get_dialect
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction
from sqlalchemy.pool import ConnectionPoolEntry

_PATIENCE_SECONDS = 60.0  # the timeout that Prefect sets for SQLite


@dataclass
class _Turn:
    lasts: bool = True


# A task that was started within a transaction belongs to its turn while the transaction lasts.
_turn: ContextVar[_Turn | None] = ContextVar("turn", default=None)


# Workaround (Prefect 3.8.8): it begins most transactions on SQLite as DEFERRED and lets them compete, so some
# fail with "database is locked". Remove when its server queues them itself; 3.9.1 begins them as 3.8.8 does.
class SqliteInTurns(AioSqliteConfiguration):
    """An SQLite database whose transactions in this process wait for each other in a queue."""

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
        """Begin a transaction that may write, when its turn comes.

        A nested transaction shares the turn of the outer one. A transaction whose turn has not come after
        `patience` seconds begins anyway. Both begin as in Prefect, so that a deadlock ends.
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


class _Cursor(sqlite3.Cursor):
    """Frees a failed statement at once, in the thread of its connection."""

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        try:
            return super().execute(sql, parameters)
        except sqlite3.Error:
            self.close()
            raise

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Self:
        try:
            return super().executemany(sql, parameters)
        except sqlite3.Error:
            self.close()
            raise


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)


def free_what_fails(
    dialect: Dialect,
    _entry: ConnectionPoolEntry | None,
    _args: list[Any],
    options: dict[str, Any],
) -> None:
    """Make a connection to SQLite free failed statements; a handler of SQLAlchemy's event `do_connect`."""
    if dialect.name == "sqlite":
        options["factory"] = _Connection


def main() -> None:
    """Serve until a signal; the arguments are those of `prefect server start`."""
    # Workaround (Prefect 3.8.8): on Python 3.11 its server stalls on SQLite; see the top of this file. Remove
    # when Python 3.11 is no longer supported.
    if sys.version_info < (3, 12):
        event.listen(Engine, "do_connect", free_what_fails)
    database = PREFECT_API_DATABASE_CONNECTION_URL.value()
    if get_dialect(database).name == "sqlite":
        set_database_config(SqliteInTurns(database))
    sys.argv[1:1] = ["server", "start"]
    app()


if __name__ == "__main__":
    main()
