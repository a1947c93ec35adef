"""Timing caches on real servers: nothing is lost, nothing damaged stays, and no GPU reads another's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.domain.backoff import Backoff
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import (
    BuildRefused,
    ChildTimedOut,
    DigestMismatch,
    NotStored,
    RecordInvalid,
    StoreUnreachable,
)
from tasks.domain.timing import CacheFile, TimingCacheKey, TimingRecord
from tasks.store.records import record_to_json
from tasks.store.store import Store
from tasks.store.timing import (
    drop_timing,
    fetch_cache,
    find_timing,
    put_cache,
    share_timing,
    swap_timing,
)
from tests.support.store.word_caches import H100, L4, Merger, record_of
from tests.support.waiting import PATIENCE

Overwrite = Callable[[Store, str, bytes | None], None]
_RACE = Path(__file__).parents[2] / "support/store/merge_race.py"
_ROOT = Path(__file__).parents[3]
_WRITERS = 8


@pytest.fixture
def cache(tmp_path: Path) -> Callable[[str], CacheFile]:
    """A function that writes a cache with these words as its timings."""

    def write(words: str) -> CacheFile:
        path = tmp_path / words.replace(" ", "-")
        path.write_text(words, "utf-8")
        return CacheFile(path=path, ref=blob_ref(words.encode()))

    return write


@pytest.fixture
def merger(tmp_path: Path) -> Merger:
    return Merger(tmp_path)


def share(store: Store, cache: CacheFile, merger: Merger, base: BlobRef | None = None) -> TimingRecord:
    return asyncio.run(share_timing(store, cache, record_of(cache.ref), base=base, merge=merger))


def words_in(store: Store, folder: Path, key: TimingCacheKey = H100) -> str:
    standing = find_timing(store, key.shared, key)
    assert standing is not None
    assert standing.record is not None
    return fetch_cache(store, standing.record.cache, folder).path.read_text("utf-8")


def test_many_processes_add_at_once_and_nothing_is_lost(store: Store, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(record_to_json(record_of(BlobRef(sha256="0" * 64, size=1))))
    command = [sys.executable, str(_RACE), store.url, str(tmp_path / "record.json"), str(_WRITERS)]
    done = subprocess.run(
        [*command, str(tmp_path)], capture_output=True, text=True, check=False, cwd=_ROOT, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    lines = sorted(f"line-{number}" for number in range(_WRITERS))
    assert sorted(line for line, _ in rows) == lines
    assert words_in(store, tmp_path).split("\n") == lines
    assert [record.key for record in store.records(TimingRecord)] == [H100.shared], "one record"


def test_the_first_cache_and_one_that_began_with_it_need_no_merge(
    store: Store, cache: Callable[[str], CacheFile], merger: Merger, tmp_path: Path
) -> None:
    first, more = cache("conv"), cache("conv pool")
    assert share(store, first, merger).cache == first.ref
    assert share(store, more, merger, base=first.ref).cache == more.ref
    assert (words_in(store, tmp_path), merger.calls) == ("conv pool", 0)


def test_what_came_meanwhile_is_merged(
    store: Store, cache: Callable[[str], CacheFile], merger: Merger, tmp_path: Path
) -> None:
    began_with, theirs, ours = cache("conv"), cache("conv pool"), cache("conv dense")
    share(store, began_with, merger)
    share(store, theirs, merger, base=began_with.ref)
    stored = share(store, ours, merger, base=began_with.ref)
    assert words_in(store, tmp_path) == "conv dense pool"
    assert (stored.cache.size, merger.calls) == (len("conv dense pool"), 1)


def test_a_build_that_measured_nothing_new_changes_nothing(
    store: Store, cache: Callable[[str], CacheFile], merger: Merger
) -> None:
    first = share(store, cache("conv"), merger)
    etag = find_timing(store, H100.shared, H100)
    again = asyncio.run(
        share_timing(store, cache("conv"), replace(first, attempt="later"), base=first.cache, merge=merger)
    )
    assert again.attempt == first.attempt
    assert find_timing(store, H100.shared, H100) == etag


def test_only_who_saw_the_last_record_replaces_it(store: Store, cache: Callable[[str], CacheFile]) -> None:
    first, second, third = (record_of(cache(words).ref) for words in ("a", "b", "c"))
    assert swap_timing(store, first, None)
    assert not swap_timing(store, second, None)
    seen = find_timing(store, H100.shared, H100)
    assert swap_timing(store, second, seen)
    assert not swap_timing(store, third, seen)
    standing = find_timing(store, H100.shared, H100)
    assert standing is not None
    assert standing.record == second


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b'{"schema": "enginefarm.timing/1"}'])
def test_a_damaged_record_is_replaced(
    store: Store,
    cache: Callable[[str], CacheFile],
    merger: Merger,
    overwrite: Overwrite,
    tmp_path: Path,
    damage: bytes,
) -> None:
    share(store, cache("conv"), merger)
    overwrite(store, H100.shared, damage)
    standing = find_timing(store, H100.shared, H100)
    assert standing is not None
    assert standing.record is None
    ((key, problem),) = store.look_through(TimingRecord)
    assert key == H100.shared
    assert isinstance(problem, RecordInvalid)
    share(store, cache("pool"), merger)
    assert (words_in(store, tmp_path), merger.calls) == ("pool", 0)


@pytest.mark.parametrize("damage", [b"c0nv", b"longer than it was", None])
def test_a_damaged_or_missing_blob_is_never_handed_out_and_is_replaced(
    store: Store,
    cache: Callable[[str], CacheFile],
    merger: Merger,
    overwrite: Overwrite,
    tmp_path: Path,
    damage: bytes | None,
) -> None:
    stored = share(store, cache("conv"), merger)
    overwrite(store, stored.cache.key, damage)
    with pytest.raises(NotStored if damage is None else DigestMismatch):
        fetch_cache(store, stored.cache, tmp_path)
    share(store, cache("pool"), merger)
    assert (words_in(store, tmp_path), merger.calls) == ("pool", 0)
    put_cache(store, cache("conv"))
    assert fetch_cache(store, stored.cache, tmp_path).path.read_bytes() == b"conv", "mended"


def test_what_tensorrt_does_not_combine_is_replaced(
    store: Store, cache: Callable[[str], CacheFile], merger: Merger, tmp_path: Path
) -> None:
    share(store, cache("conv"), merger)
    refusing = Merger(tmp_path, BuildRefused(wanted="one of two", found="no", fix="none"))
    share(store, cache("pool"), refusing)
    assert (words_in(store, tmp_path), refusing.calls) == ("pool", 1)


def test_a_merge_that_cannot_be_made_now_leaves_what_others_measured(
    store: Store, cache: Callable[[str], CacheFile], merger: Merger, tmp_path: Path
) -> None:
    share(store, cache("conv"), merger)
    slow = Merger(tmp_path, ChildTimedOut(wanted="a merge", found="none", fix="wait"))
    with pytest.raises(ChildTimedOut):
        share(store, cache("pool"), slow)
    assert words_in(store, tmp_path) == "conv"


def test_another_gpu_model_has_another_cache_and_never_reads_this_one(
    store: Store, cache: Callable[[str], CacheFile], merger: Merger, overwrite: Overwrite
) -> None:
    theirs = share(store, cache("conv"), merger)
    assert find_timing(store, L4.shared, L4) is None
    # Somebody puts it in the other's place, as it is or made to look right.
    for forged in (theirs, replace(theirs, key=L4.shared)):
        overwrite(store, L4.shared, record_to_json(forged))
        standing = find_timing(store, L4.shared, L4)
        assert standing is not None
        assert standing.record is None


def test_a_named_cache_lies_beside_the_shared_one(
    store: Store, cache: Callable[[str], CacheFile], merger: Merger
) -> None:
    share(store, cache("conv"), merger)
    ref = cache("pool").ref
    named = replace(record_of(ref), key=H100.recorded(ref.sha256))
    assert swap_timing(store, named, None)
    standing = find_timing(store, named.key, H100)
    assert standing is not None
    assert standing.record == named
    assert {record.key for record in store.records(TimingRecord)} == {H100.shared, named.key}


def test_a_dropped_cache_is_gone(store: Store, cache: Callable[[str], CacheFile], merger: Merger) -> None:
    share(store, cache("conv"), merger)
    drop_timing(store, H100.shared)
    assert find_timing(store, H100.shared, H100) is None
    for key in (H100.shared, "engines/m/v/l4/8.6.0.12/fp32-0.json"):
        with pytest.raises(NotStored, match="timing list"):
            drop_timing(store, key)


def test_who_always_loses_gives_up(
    faulty_store: Callable[[str], Store],
    cache: Callable[[str], CacheFile],
    merger: Merger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.store.timing.swap_timing", lambda *_: False)
    monkeypatch.setattr("tasks.store.timing._BACKOFF", Backoff(first=0.0, longest=0.0))
    with pytest.raises(StoreUnreachable, match="only time is lost"):
        share(faulty_store("none"), cache("conv"), merger)


def test_a_conflict_with_another_write_is_tried_again(
    faulty_store: Callable[[str], Store], cache: Callable[[str], CacheFile], merger: Merger
) -> None:
    store = faulty_store("conflicts")
    assert share(store, cache("conv"), merger).cache == cache("conv").ref


def test_ones_own_success_is_recognised_when_its_answer_is_lost(
    faulty_store: Callable[[str], Store], cache: Callable[[str], CacheFile], merger: Merger
) -> None:
    store = faulty_store("loses")
    assert share(store, cache("conv"), merger).cache == cache("conv").ref
    assert merger.calls == 0
