"""What is found must be what was asked for, and must still be there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.domain.errors import NotStored, RecordInvalid
from tasks.domain.record import EngineRecord
from tasks.store.lease import Lease
from tasks.store.records import record_to_json
from tasks.store.store import Store
from tasks.store.transfer import file_ref

Overwrite = Callable[[Store, str, bytes | None], None]


def test_a_record_at_a_key_that_its_contents_do_not_make(
    store: Store, engine_record: EngineRecord, overwrite: Overwrite
) -> None:
    for forged in (
        replace(engine_record, build_key="0" * 64),
        replace(engine_record, model="../../elsewhere"),
        replace(engine_record, version="v8"),
    ):
        with pytest.raises(RecordInvalid):
            store.commit(forged, engine_record.key)
        overwrite(store, engine_record.key, record_to_json(forged))
        with pytest.raises(RecordInvalid):
            store.find(engine_record.key, EngineRecord)


def test_a_record_whose_blob_is_gone(
    store: Store, engine_record: EngineRecord, overwrite: Overwrite, tmp_path: Path
) -> None:
    path = tmp_path / "plan"
    path.write_bytes(b"a plan")
    plan = store.put_blob(path)
    store.require_blobs(engine_record.key, plan)
    overwrite(store, plan.key, b"cut")
    with pytest.raises(NotStored, match="restore it from a backup"):
        store.require_blobs(engine_record.key, plan)
    overwrite(store, plan.key, None)
    with pytest.raises(NotStored):
        store.require_blobs(engine_record.key, plan)


def test_two_stores_in_one_bucket(store: Store, engine_record: EngineRecord, tmp_path: Path) -> None:
    """One may lie below the other, even where that has its records."""
    path = tmp_path / "plan"
    path.write_bytes(b"a plan")
    record = replace(engine_record, plan=file_ref(path))
    for inner in ("team", "engines", f"engines/{record.model}/{record.version}"):
        prefix = f"{store.prefix}/{inner}".lstrip("/")
        below = Store(client=store.client, bucket=store.bucket, prefix=prefix)
        below.put_blob(path)
        below.commit(record, record.key)
        assert [each.key for each in below.records(EngineRecord)] == [record.key]
        assert list(store.records(EngineRecord)) == []
        assert store.find(record.key, EngineRecord) is None
        leases = [Lease(store=place, key=record.key) for place in (below, store)]
        assert [lease.take() for lease in leases] == [True, True]
        leases[1].release()
