"""Prefect's database in SQLite: its transactions wait for each other, and none fails for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncEngine

from flows.local.prefect_server import SqliteInTurns
from tests.support.waiting import PATIENCE

_COUNT = sqlalchemy.text("select count(*) from t")
_INSERT = sqlalchemy.text("insert into t values (:x)")
_AT_ONCE = 20


@asynccontextmanager
async def _table(database: AioSqliteConfiguration) -> AsyncIterator[AsyncEngine]:
    engine = await database.engine()
    try:
        async with await database.session(engine) as session, database.begin_transaction(session):
            await session.execute(sqlalchemy.text("create table t(x integer)"))
        yield engine
    finally:
        await engine.dispose()


async def _soon() -> None:
    await asyncio.sleep(0.01)


async def _count_and_insert(
    database: AioSqliteConfiguration, engine: AsyncEngine, others: Callable[[], Awaitable[object]] = _soon
) -> int:
    """Read, let others go on, and write what was read."""
    async with await database.session(engine) as session, database.begin_transaction(session):
        count = int((await session.execute(_COUNT)).scalar_one())
        await others()
        await session.execute(_INSERT, {"x": count})
        return count


async def _many(
    database: AioSqliteConfiguration, others: Callable[[], Awaitable[object]] = _soon
) -> list[int | BaseException]:
    async with _table(database) as engine:
        each = (_count_and_insert(database, engine, others) for _ in range(_AT_ONCE))
        return await asyncio.gather(*each, return_exceptions=True)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/prefect.db"


def test_each_sees_what_those_before_it_wrote_and_none_fails(url: str) -> None:
    assert asyncio.run(_many(SqliteInTurns(url))) == list(range(_AT_ONCE))


def test_without_turns_they_fail(url: str) -> None:
    """When this fails, the module has nothing left to mend."""

    async def in_pairs() -> list[int | BaseException]:
        both_have_read = asyncio.Barrier(2)
        return await _many(AioSqliteConfiguration(url), both_have_read.wait)

    failed = [answer for answer in asyncio.run(in_pairs()) if isinstance(answer, Exception)]
    assert failed
    assert all("database is locked" in str(error) for error in failed)


async def _nest(database: AioSqliteConfiguration, *, in_a_task: bool) -> int:
    """Read in a transaction within another, which writes then; count afterwards."""

    async def read() -> None:
        async with await database.session(engine) as inner, database.begin_transaction(inner):
            await inner.execute(_COUNT)

    async with _table(database) as engine:
        async with await database.session(engine) as outer, database.begin_transaction(outer):
            await (asyncio.create_task(read()) if in_a_task else read())
            await outer.execute(_INSERT, {"x": 0})
        return await _count_and_insert(database, engine)


@pytest.mark.parametrize("in_a_task", [False, True])
def test_one_within_another_does_not_wait_for_it(url: str, *, in_a_task: bool) -> None:
    assert asyncio.run(asyncio.wait_for(_nest(SqliteInTurns(url), in_a_task=in_a_task), PATIENCE)) == 1


async def _outlive(database: AioSqliteConfiguration) -> list[int]:
    """Start a task within a transaction that goes on to transactions of its own."""
    async with _table(database) as engine:
        async with await database.session(engine) as outer, database.begin_transaction(outer):
            await outer.execute(_COUNT)
            over = asyncio.Event()
            started = asyncio.create_task(_count_after(over, database, engine))
        over.set()
        others = [_count_and_insert(database, engine) for _ in range(_AT_ONCE)]
        return sorted(await asyncio.gather(started, *others))


async def _count_after(over: asyncio.Event, database: AioSqliteConfiguration, engine: AsyncEngine) -> int:
    await over.wait()
    return await _count_and_insert(database, engine)


def test_a_task_that_outlives_the_transaction_waits_like_others(url: str) -> None:
    assert asyncio.run(_outlive(SqliteInTurns(url))) == list(range(_AT_ONCE + 1))


async def _write_while_another_stays(database: AioSqliteConfiguration) -> int:
    """Write while another transaction, which wrote nothing, waits for that."""
    async with _table(database) as engine:
        written = asyncio.Event()

        async def stay() -> None:
            async with await database.session(engine) as other, database.begin_transaction(other):
                await written.wait()

        staying = asyncio.create_task(stay())
        await asyncio.sleep(0)
        count = await _count_and_insert(database, engine)
        written.set()
        await staying
        return count


def test_whose_turn_does_not_come_begins_all_the_same(url: str) -> None:
    assert asyncio.run(asyncio.wait_for(_write_while_another_stays(SqliteInTurns(url, 0.2)), PATIENCE)) == 0
