"""The commit: whoever comes first wins, and everybody agrees on who that was."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.domain.errors import RecordInvalid, StoreUnsafe
from tasks.domain.keys import conversion_record_key
from tasks.domain.record import ConversionRecord, EngineRecord
from tasks.store.records import record_to_json
from tasks.store.store import Store
from tests.support.waiting import PATIENCE

_RACE = Path(__file__).parents[2] / "support/store/race.py"
_ROOT = Path(__file__).parents[3]
_RACERS = 16
_PROBE = (200, 412, 412)

Overwrite = Callable[[Store, str, bytes | None], None]


def test_the_first_commit_stands(store: Store, engine_record: EngineRecord) -> None:
    key = engine_record.key
    assert store.find(key, EngineRecord) is None
    assert store.commit(engine_record, key) == engine_record
    assert store.commit(replace(engine_record, attempt="second"), key) == engine_record
    assert store.find(key, EngineRecord) == engine_record


def test_conversions_are_committed_alike(store: Store, conversion_record: ConversionRecord) -> None:
    record = conversion_record
    key = conversion_record_key(record.key)
    assert store.find(key, ConversionRecord) is None
    assert store.commit(record, key) == record
    assert store.commit(replace(record, peak_mib=2.0), key) == record
    assert store.find(key, ConversionRecord) == record


def test_a_record_goes_only_to_its_own_key(
    store: Store, engine_record: EngineRecord, conversion_record: ConversionRecord
) -> None:
    with pytest.raises(RecordInvalid, match="elsewhere"):
        store.commit(engine_record, "engines/elsewhere.json")
    with pytest.raises(RecordInvalid, match="elsewhere"):
        store.commit(conversion_record, "conversions/elsewhere.json")
    assert store.find("engines/elsewhere.json", EngineRecord) is None


def test_a_record_that_was_copied_to_another_key_is_refused(
    store: Store, engine_record: EngineRecord, overwrite: Overwrite
) -> None:
    overwrite(store, "engines/a/b/c/d/e.json", record_to_json(engine_record))
    with pytest.raises(RecordInvalid, match=engine_record.key):
        store.find("engines/a/b/c/d/e.json", EngineRecord)


def test_a_broken_record_is_not_overwritten(
    store: Store, engine_record: EngineRecord, overwrite: Overwrite
) -> None:
    overwrite(store, engine_record.key, b'{"schema": "enginefarm.engine/9"}')
    with pytest.raises(RecordInvalid, match=r"enginefarm\.engine/9"):
        store.commit(engine_record, engine_record.key)


def test_one_of_many_processes_wins_and_all_agree(
    store: Store, engine_record: EngineRecord, tmp_path: Path
) -> None:
    (tmp_path / "record.json").write_bytes(record_to_json(engine_record))
    command = [sys.executable, str(_RACE), store.url, str(tmp_path / "record.json"), str(_RACERS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_ROOT, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert len({own for own, _ in rows}) == _RACERS
    standing = store.find(engine_record.key, EngineRecord)
    assert standing is not None
    assert {seen for _, seen in rows} == {standing.attempt}


def test_the_server_honours_conditional_writes(store: Store) -> None:
    store.check_conditional_writes()
    listed = store.client.list_objects_v2(Bucket=store.bucket)
    assert listed["KeyCount"] == 0, "the probe is gone"


def _fill(store: Store, record: EngineRecord, count: int) -> list[str]:
    """Write `count` records without conditions, which is quicker; return their keys in order."""

    def write(number: int) -> str:
        model, version = f"m{number % 2}", f"v{number % 3}"
        key = f"engines/{model}/{version}/l4/10.13.3.9/fp16-{number:012x}.json"
        ref = replace(record.release.ref, model=model, version=version)
        named = replace(record, key=key, model=model, version=version, build_key=f"{number:012x}" + "0" * 52)
        data = record_to_json(replace(named, release=replace(record.release, ref=ref)))
        store.client.put_object(Bucket=store.bucket, Key=f"{store.prefix}/{key}", Body=data)
        return key

    with ThreadPoolExecutor(8) as writers:
        return sorted(writers.map(write, range(count)))


def test_a_listing_goes_on_after_a_thousand_records(
    server: Any, store: Store, engine_record: EngineRecord, pytestconfig: pytest.Config
) -> None:
    if server.name == "moto" and not pytestconfig.getoption("--long"):
        pytest.skip("give --long for this, too: moto takes thrice as long as ministack")
    keys = _fill(store, engine_record, 1200)
    assert [record.key for record in store.records(EngineRecord)] == keys
    assert next(store.records(EngineRecord)).key == keys[0]


def test_a_listing_can_be_narrowed(store: Store, engine_record: EngineRecord) -> None:
    keys = _fill(store, engine_record, 12)
    assert list(store.records(EngineRecord, model="m")) == []
    of_model, of_version = store.records(EngineRecord, model="m1"), store.records(EngineRecord, version="v2")
    assert [record.key for record in of_model] == [key for key in keys if "/m1/" in key]
    assert [record.key for record in of_version] == [key for key in keys if "/v2/" in key]
    assert [record.key for record in store.records(EngineRecord, model="m0", version="v1")] == [
        key for key in keys if "/m0/v1/" in key
    ]


def test_a_listing_leaves_broken_records_out_and_names_them(
    store: Store, engine_record: EngineRecord, overwrite: Overwrite, caplog: pytest.LogCaptureFixture
) -> None:
    keys = _fill(store, engine_record, 3)
    overwrite(store, keys[1], b"{")
    odd = "engines/m0/v0/l4/10.13.3.9/\x1b[2J.json"
    overwrite(store, odd, b"{")
    overwrite(store, "engines/README.txt", b"not a record")
    with caplog.at_level(logging.WARNING, logger="tasks.store"):
        assert [record.key for record in store.records(EngineRecord)] == [keys[0], keys[2]]
    assert len(caplog.messages) == 2
    assert any(keys[1] in message for message in caplog.messages)
    assert not any("\x1b" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("fault", "header"),
    [
        ("ignores", "If-None-Match"),
        ("unimplemented", "If-None-Match"),
        ("matchless", "If-Match"),
        ("unmatched", "If-Match"),
    ],
)
def test_a_server_without_conditional_writes_is_refused(
    faulty_store: Callable[[str], Store], engine_record: EngineRecord, fault: str, header: str
) -> None:
    store = faulty_store(fault)
    for _ in range(2):  # a refusal is not remembered as a proof
        with pytest.raises(StoreUnsafe, match=f"honours {header} "):
            store.check_conditional_writes()
    with pytest.raises(StoreUnsafe):
        store.commit(engine_record, engine_record.key)
    assert store.client.list_objects_v2(Bucket=store.bucket)["KeyCount"] == 0


def put_answers(store: Store) -> list[int]:
    """Return a list that grows by the status of each answer to a PUT."""
    answers: list[int] = []

    def note(parsed: dict[str, Any], **_: Any) -> None:
        answers.append(parsed["ResponseMetadata"]["HTTPStatusCode"])

    store.client.meta.events.register("after-call.s3.PutObject", note)
    return answers


def test_ones_own_success_is_recognised_when_its_answer_is_lost(
    faulty_store: Callable[[str], Store], engine_record: EngineRecord
) -> None:
    store = faulty_store("loses")
    answers = put_answers(store)
    standing = store.commit(replace(engine_record, attempt="mine"), engine_record.key)
    assert answers == [*_PROBE, 412], "the answer that the client got is that somebody was first"
    assert standing.attempt == "mine"
    assert store.commit(replace(engine_record, attempt="later"), engine_record.key).attempt == "mine"


def test_a_conflict_with_another_write_is_tried_again(
    faulty_store: Callable[[str], Store], engine_record: EngineRecord
) -> None:
    store = faulty_store("conflicts")
    answers = put_answers(store)
    assert store.commit(engine_record, engine_record.key) == engine_record
    assert answers == [*_PROBE, 409, 409, 200]
    assert store.find(engine_record.key, EngineRecord) == engine_record
