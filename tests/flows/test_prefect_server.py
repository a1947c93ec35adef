"""Prefect's server on SQLite: what fails in the database does not hold up its event loop."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from flows.local.prefect_server import free_what_fails
from tests.support.waiting import PATIENCE, until

_INSERT = sqlalchemy.text("insert into t values (:x)")


async def _fail(connection: AsyncConnection) -> IntegrityError:
    """Let a statement fail, and return the error that keeps its cursor alive."""
    with pytest.raises(IntegrityError) as failed:
        await connection.execute(_INSERT, {"x": 1})
    await connection.rollback()
    return failed.value


async def _statements(connection: AsyncConnection) -> list[str]:
    """Return a list to which SQLite adds each statement as it begins, before it waits for others."""
    begun: list[str] = []
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.set_trace_callback(begun.append)
    return begun


async def _write_while_another_does(database: Path, *, freeing: bool) -> None:
    """Free the cursor that failed while its connection waits for another, which the same event loop ends."""
    patience = PATIENCE if freeing else 3.0  # of SQLite with its database
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}", connect_args={"timeout": patience})
    if freeing:
        event.listen(engine.sync_engine, "do_connect", free_what_fails)
    other = sqlite3.connect(database)
    try:
        async with engine.connect() as connection:
            await connection.execute(sqlalchemy.text("create table t(x integer primary key)"))
            await connection.execute(_INSERT, {"x": 1})
            await connection.commit()
            kept = [await _fail(connection)]
            other.execute("BEGIN IMMEDIATE")
            begun = await _statements(connection)
            writing = asyncio.create_task(connection.execute(_INSERT, {"x": 2}))
            await until(
                lambda: any(statement.startswith("insert") for statement in begun), "SQLite to begin to write"
            )
            kept.clear()
            gc.collect()
            other.rollback()
            await writing
    finally:
        other.close()
        await engine.dispose()


def test_a_failed_statement_does_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    asyncio.run(_write_while_another_does(tmp_path / "database", freeing=True))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python 3.12 keeps no statement that failed")
def test_without_that_it_does(tmp_path: Path) -> None:
    """When this fails, the module has nothing left to mend."""
    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(_write_while_another_does(tmp_path / "database", freeing=False))
