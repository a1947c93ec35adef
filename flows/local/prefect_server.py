"""Prefect's server, as `prefect server start` starts it, which does not stall on SQLite.

Its transactions wait for each other in a queue (`sqlite_turns.py`). Under Python 3.11, a cursor keeps its
statement when that fails, and Python may free that cursor much later from the event loop. Freeing it waits
for its connection; where that waits for the database meanwhile, and whoever has the database waits for the
event loop, the server stands still until SQLite gives up, after a minute. Python 3.12 keeps no statement that
failed.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable
from typing import Any, Self

from prefect.cli import app
from prefect.server.database.dependencies import set_database_config
from prefect.server.utilities.database import get_dialect
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL
from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.pool import ConnectionPoolEntry

from flows.local.sqlite_turns import SqliteInTurns


class _Cursor(sqlite3.Cursor):
    """Frees a statement that fails at once, in the thread of its connection."""

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
    """Have a connection to SQLite free each statement that fails: for SQLAlchemy's event `do_connect`."""
    if dialect.name == "sqlite":
        options["factory"] = _Connection


def main() -> None:
    """Serve until a signal ends it; the arguments are those of `prefect server start`."""
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
