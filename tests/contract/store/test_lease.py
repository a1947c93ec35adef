"""Leases on real servers: one holder at a time, and none that died keeps the others waiting for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import boto3
import pytest
from botocore.config import Config

from tasks.domain.errors import ChildOutOfMemory, FarmError, ModelRefused, StoreUnreachable
from tasks.store.holder import this_process
from tasks.store.lease import Lease
from tasks.store.once import make_once
from tasks.store.store import Store
from tests.support.waiting import wait_until

KEY = "conversions/ab/abcd.json"
_SECONDS = 30.0


class Clock:
    """The monotonic clock of this host, which tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tasks.store.lease.monotonic", clock)
    return clock


def lease_of(store: Store, *, key: str = KEY) -> Lease:
    return Lease(store=store, key=key, seconds=_SECONDS)


def all_at_once(calls: list[Callable[[], bool]]) -> list[bool]:
    start = Barrier(len(calls))

    def call(take: Callable[[], bool]) -> bool:
        start.wait()
        return take()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(call, calls))


def test_of_many_that_ask_at_once_one_holds(store: Store) -> None:
    leases = [lease_of(store) for _ in range(8)]
    assert sum(all_at_once([lease.take for lease in leases])) == 1
    assert sum(lease.held for lease in leases) == 1


def test_other_keys_are_other_leases(store: Store) -> None:
    assert lease_of(store).take()
    assert lease_of(store, key="conversions/ef/ef01.json").take()


def test_a_lease_that_is_given_back_is_free_at_once(store: Store) -> None:
    first, second = lease_of(store), lease_of(store)
    assert first.take()
    assert not second.take()
    first.release()
    assert not first.held
    assert second.take()
    second.release()
    assert store.client.list_objects_v2(Bucket=store.bucket)["KeyCount"] == 0


def test_a_holder_that_renews_keeps_it(store: Store, clock: Clock) -> None:
    holder, waiter = lease_of(store), lease_of(store)
    assert holder.take()
    for _ in range(6):
        assert not waiter.take()
        clock.now += _SECONDS * 0.9
        assert holder.held
        assert holder.renew()
    assert not waiter.take()


def test_clocks_of_hosts_may_be_hours_apart(store: Store, clock: Clock) -> None:
    holder, waiter = lease_of(store), lease_of(store)
    assert holder.take()
    clock.now += 3600  # the waiter's host
    assert not waiter.take()
    clock.now -= 3600 - 10
    assert holder.renew()
    clock.now += 3600 + _SECONDS
    assert not waiter.take()
    clock.now += _SECONDS
    assert waiter.take()


def test_a_holder_that_died_is_followed_after_its_time(store: Store, clock: Clock) -> None:
    assert lease_of(store).take()
    waiter = lease_of(store)
    clock.now += 10 * _SECONDS  # nobody knows how long the holder has been silent: the watch starts now
    assert not waiter.take()
    clock.now += _SECONDS - 0.1
    assert not waiter.take()
    clock.now += 0.1
    assert waiter.take()
    assert waiter.held


def test_of_two_that_follow_at_once_one_holds(store: Store, clock: Clock) -> None:
    assert lease_of(store).take()
    waiters = [lease_of(store), lease_of(store)]
    assert [waiter.take() for waiter in waiters] == [False, False]
    clock.now += _SECONDS
    assert any(all_at_once([waiter.take for waiter in waiters]))
    # A server that compares and writes in two steps may let both through: the first renewal settles it.
    assert sum(all_at_once([waiter.renew for waiter in waiters])) == 1
    assert sum(waiter.held for waiter in waiters) == 1


def test_a_holder_that_wakes_late_takes_nothing_back(store: Store, clock: Clock) -> None:
    sleeper, follower, third = lease_of(store), lease_of(store), lease_of(store)
    assert sleeper.take()
    assert not follower.take()
    clock.now += _SECONDS
    assert not sleeper.held
    assert follower.take()
    assert not sleeper.renew()
    sleeper.release()
    assert not third.take(), "the follower's lease is still there"
    assert follower.renew()


def test_a_late_holder_goes_on_where_nobody_followed(store: Store, clock: Clock) -> None:
    sleeper = lease_of(store)
    assert sleeper.take()
    clock.now += 5 * _SECONDS
    assert not sleeper.held
    assert sleeper.renew()
    assert sleeper.held


def test_the_watch_starts_anew_when_s3_was_away(
    store: Store, clock: Clock, free_port: Callable[[], int]
) -> None:
    nowhere = boto3.session.Session().client(
        "s3", endpoint_url=f"http://127.0.0.1:{free_port()}", config=Config(retries={"total_max_attempts": 1})
    )
    assert lease_of(store).take()  # and cannot renew it either
    waiter = lease_of(store)
    assert not waiter.take()
    clock.now += _SECONDS
    waiter.store = replace(store, client=nowhere)
    with pytest.raises(StoreUnreachable):
        waiter.take()
    waiter.store = store
    assert not waiter.take()
    clock.now += _SECONDS
    assert waiter.take()


LEASE = b'{"owner": "x", "seconds": %s, "process": {"pid": %s, "boot": "b", "numbers": "n", "started": 1}}'


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[]", id="no object"),
        pytest.param(b"[" * 200_000 + b"]" * 200_000, id="nested too deeply"),
        pytest.param(LEASE % (b"9" * 400, b"1"), id="endless"),
        pytest.param(LEASE % (b"30", b"1e999"), id="no process"),
        pytest.param(b'{"owner": "x", "seconds": 30, "failed": ["class"]}', id="no error"),
        pytest.param(b"\xff\x00", id="no text"),
    ],
)
def test_a_damaged_lease_runs_out(body: bytes, store: Store, clock: Clock) -> None:
    store.client.put_object(Bucket=store.bucket, Key=f"{store.prefix}/leases/{KEY}", Body=body)
    lease = lease_of(store)
    assert not lease.take()
    clock.now += _SECONDS
    assert lease.take()


def test_a_lease_of_an_impossible_process_of_this_host_runs_out(store: Store, clock: Clock) -> None:
    holder = this_process()
    if holder is None:
        pytest.skip("this host does not show its processes")
    document = {"owner": "x", "seconds": 30, "process": holder.to_document() | {"pid": 1 << 31}}
    body = json.dumps(document).encode()
    store.client.put_object(Bucket=store.bucket, Key=f"{store.prefix}/leases/{KEY}", Body=body)
    lease = lease_of(store)
    assert not lease.take()
    clock.now += _SECONDS
    assert lease.take()


def test_a_lease_whose_answer_was_lost_is_ones_own(faulty_store: Callable[[str], Store]) -> None:
    store = faulty_store("loses")
    lease = lease_of(store, key="engines/m/v/d/t/fp32-0.json")
    taken = [lease.take(), lease.take()]
    assert taken == [False, True]
    assert not lease_of(store, key=lease.key).take()


def test_one_of_ten_makes_what_all_get(store: Store) -> None:
    results: list[int] = []

    async def find() -> int | None:
        return results[0] if results else None

    async def make() -> int:
        await asyncio.sleep(0.3)
        results.append(len(results))
        return results[-1]

    async def ten() -> list[int]:
        return await asyncio.gather(*(make_once(lease_of(store), find, make) for _ in range(10)))

    assert asyncio.run(ten()) == [0] * 10
    assert results == [0]
    assert store.client.list_objects_v2(Bucket=store.bucket)["KeyCount"] == 0


def failing_once(store: Store, failure: FarmError) -> tuple[list[str], int]:
    """Let three ask at once where the first that makes the result fails; return answers and tries."""
    tries: list[str] = []
    leases = [lease_of(store) for _ in range(3)]

    async def find() -> str | None:
        return None

    async def make() -> str:
        tries.append("")
        if len(tries) == 1:
            await asyncio.to_thread(wait_until, lambda: sum(lease._seen is not None for lease in leases) == 2)
            raise failure
        return "made"

    async def three() -> list[str | BaseException]:
        work = (make_once(lease, find, make) for lease in leases)
        return await asyncio.gather(*work, return_exceptions=True)

    return sorted(map(str, asyncio.run(three()))), len(tries)


def test_what_is_wrong_with_the_release_is_told_to_all_that_wait(store: Store) -> None:
    refusal = ModelRefused(wanted="a model", found="none", fix="give one")
    assert failing_once(store, refusal) == ([str(refusal)] * 3, 1)
    # Who comes later tries anew, at once, and leaves nothing behind.
    later = lease_of(store)
    assert later.take()
    later.release()
    assert store.client.list_objects_v2(Bucket=store.bucket)["KeyCount"] == 0


def test_what_is_wrong_with_one_host_lets_the_next_try(store: Store) -> None:
    small = ChildOutOfMemory(wanted="memory", found="none", fix="add some")
    assert failing_once(store, small) == (["made", "made", str(small)], 3)
