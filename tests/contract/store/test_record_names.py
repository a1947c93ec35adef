"""Records by their short names, on real servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tasks.domain.errors import NameAmbiguous, NotStored
from tasks.domain.keys import engine_key
from tasks.domain.record import EngineRecord
from tasks.store.record_names import RecordRoot, key_named, names_in
from tasks.store.store import Store

Put = Callable[..., str]


@pytest.fixture
def put(store: Store, engine_record: EngineRecord) -> Put:
    """A function that stores an engine with these first digits, and returns its key."""

    def commit(digits: str, version: str = engine_record.version) -> str:
        ref = replace(engine_record.release.ref, version=version)
        release, digest = replace(engine_record.release, ref=ref), digits.ljust(64, "0")
        precision = engine_record.options.precision
        key = engine_key(
            release=release, target=engine_record.target, precision=precision, build_digest=digest
        )
        record = replace(engine_record, key=key, build_key=digest, release=release, version=version)
        store.commit(record, key)
        return key

    return commit


def test_a_unique_beginning_finds_the_record(store: Store, put: Put) -> None:
    first, _ = put("0123456789ab"), put("fedcba987654")
    assert key_named(store, RecordRoot.ENGINES, "0123456") == first
    assert key_named(store, RecordRoot.ENGINES, "0123456789ab") == first
    assert key_named(store, RecordRoot.ENGINES, first) == first
    assert names_in(store, RecordRoot.ENGINES)[first] == "01234567"


def test_an_ambiguous_name_is_refused_with_the_candidates(store: Store, put: Put) -> None:
    keys = [put("0123456789ab"), put("0123456fffff")]
    with pytest.raises(NameAmbiguous) as caught:
        key_named(store, RecordRoot.ENGINES, "0123456")
    assert caught.value.found.splitlines() == ["2 records:", *keys]
    assert key_named(store, RecordRoot.ENGINES, "01234567") == keys[0]


def test_the_release_tells_the_same_engine_of_two_versions_apart(store: Store, put: Put) -> None:
    first, second = put("0123456789ab", "1"), put("0123456789ab", "2")
    with pytest.raises(NameAmbiguous):
        key_named(store, RecordRoot.ENGINES, "0123456789ab")
    for key, name in names_in(store, RecordRoot.ENGINES).items():
        assert key_named(store, RecordRoot.ENGINES, name) == key
    assert {first, second} == set(names_in(store, RecordRoot.ENGINES))


def test_an_unknown_name_is_not_stored(store: Store, put: Put) -> None:
    put("0123456789ab")
    for root, name in ((RecordRoot.ENGINES, "fffffff"), (RecordRoot.QUARANTINE, "0123456")):
        with pytest.raises(NotStored, match=f"enginefarm {root} list"):
            key_named(store, root, name)


def test_many_candidates_are_counted(store: Store, put: Put) -> None:
    for place in range(12):
        put(f"0123456{place:x}0000")
    with pytest.raises(NameAmbiguous) as caught:
        key_named(store, RecordRoot.ENGINES, "0123456")
    lines = caught.value.found.splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("12 records:", "and 2 more", 12)
