"""Blobs: what comes out is what went in, or an error and nothing on the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.children.progress import listening
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import DigestMismatch, NotStored
from tasks.store.store import Store

_DATA = bytes(range(256)) * 12_000  # 3 MB: several chunks

Overwrite = Callable[[Store, str, bytes | None], None]


@pytest.fixture
def stored(store: Store, tmp_path: Path) -> BlobRef:
    path = tmp_path / "plan"
    path.write_bytes(_DATA)
    return store.put_blob(path)


def test_bytes_come_back_with_progress(store: Store, stored: BlobRef, tmp_path: Path) -> None:
    assert stored == blob_ref(_DATA)
    assert store.has_blob(stored)
    heard: list[tuple[str, str, float]] = []
    with listening(lambda *report: heard.append(report)):
        store.get_blob(stored, tmp_path / "new" / "folder" / "plan")
    assert (tmp_path / "new" / "folder" / "plan").read_bytes() == _DATA
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["plan"]
    fractions = [fraction for _, _, fraction in heard]
    assert {(step, phase) for step, phase, _ in heard} == {("fetch", "plan")}
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_an_empty_file_is_a_blob_like_others(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    ref = store.put_blob(tmp_path / "empty")
    store.get_blob(ref, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b""


def test_the_same_bytes_are_uploaded_once(store: Store, stored: BlobRef, tmp_path: Path) -> None:
    before = store.client.head_object(Bucket=store.bucket, Key=f"{store.prefix}/{stored.key}")
    (tmp_path / "copy").write_bytes(_DATA)
    assert store.put_blob(tmp_path / "copy") == stored
    after = store.client.head_object(Bucket=store.bucket, Key=f"{store.prefix}/{stored.key}")
    assert before["LastModified"] == after["LastModified"]


@pytest.mark.parametrize(
    "damage",
    [
        _DATA[:1000] + b"\x00" + _DATA[1001:],
        _DATA[:-1],
        b"",
        _DATA + b"x",
    ],
    ids=["one byte", "truncated", "emptied", "longer"],
)
def test_damaged_bytes_never_reach_the_disk(
    store: Store, stored: BlobRef, tmp_path: Path, overwrite: Overwrite, damage: bytes
) -> None:
    overwrite(store, stored.key, damage)
    target = tmp_path / "fetched" / "plan"
    with pytest.raises(DigestMismatch) as caught:
        store.get_blob(stored, target)
    assert stored.sha256 in str(caught.value)
    assert list(target.parent.iterdir()) == []


def test_a_file_that_was_there_survives_a_failed_fetch(
    store: Store, stored: BlobRef, tmp_path: Path, overwrite: Overwrite
) -> None:
    overwrite(store, stored.key, b"other")
    (tmp_path / "old").write_bytes(b"good")
    with pytest.raises(DigestMismatch):
        store.get_blob(stored, tmp_path / "old")
    assert (tmp_path / "old").read_bytes() == b"good"


def test_a_missing_blob_is_named(store: Store, tmp_path: Path) -> None:
    ref = blob_ref(b"never stored")
    assert not store.has_blob(ref)
    with pytest.raises(NotStored, match=ref.sha256):
        store.get_blob(ref, tmp_path / "fetched" / "plan")
    assert list((tmp_path / "fetched").iterdir()) == []


def test_a_truncated_blob_is_repaired_by_storing_it_again(
    store: Store, stored: BlobRef, tmp_path: Path, overwrite: Overwrite
) -> None:
    overwrite(store, stored.key, _DATA[:10])
    assert not store.has_blob(stored)
    assert store.put_blob(tmp_path / "plan") == stored
    store.get_blob(stored, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == _DATA


def test_a_connection_that_breaks_on_the_way_is_tried_again(
    faulty_store: Callable[[str], Store], tmp_path: Path
) -> None:
    store = faulty_store("cuts")
    (tmp_path / "plan").write_bytes(_DATA)
    ref = store.put_blob(tmp_path / "plan")
    reads: list[int] = []
    store.client.meta.events.register("after-call.s3.GetObject", lambda **_: reads.append(1))
    store.get_blob(ref, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == _DATA
    assert len(reads) == 2
