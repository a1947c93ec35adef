"""A release is written once; its request is replaced by compare-and-swap, and its history is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import publish
from tasks.children.progress import listening
from tasks.domain.errors import (
    ArchiveRefused,
    NotStored,
    ReleaseIncomplete,
    RequestInvalid,
    StoreDenied,
    StoreUnsafe,
)
from tasks.domain.release import ModelFormat, ReleaseRef
from tasks.store import request_history, transfer
from tasks.store.publishing import plan_upload, publish_release, upload_text
from tasks.store.releases import fetch_release, read_request_file
from tasks.store.request_history import keep_request, read_request_version, request_versions
from tasks.store.store import Store
from tests.support.releases import Upload, write_files

_FIRST = b"precisions: [fp16]\n"
_KERAS = {"model.keras": b"weights" * 100_000, "build.yaml": _FIRST}


def _keys(store: Store, ref: ReleaseRef) -> list[str]:
    listed = store.client.list_objects_v2(Bucket=ref.bucket, Prefix=ref.key)
    return [entry["Key"].removeprefix(ref.key) for entry in listed.get("Contents", [])]


def test_an_upload_says_bytes_rate_and_the_time_that_is_left(
    store: Store, ref: ReleaseRef, tmp_path: Path
) -> None:
    steps: list[tuple[str, float]] = []
    with listening(lambda _step, phase, fraction: steps.append((phase, fraction))):
        publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    assert [text for text, _ in steps if text.startswith("model.keras: 0.7 of 0.7 MiB, ")]
    assert steps[-1] == ("build.yaml", 1.0)
    assert max(fraction for _, fraction in steps[:-1]) < 1
    assert upload_text(3 << 20, 9 << 20, 1.5) == "3.0 of 9.0 MiB, 2.0 MiB/s, 3 s left"


def test_a_release_never_changes(store: Store, ref: ReleaseRef, tmp_path: Path) -> None:
    publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    with pytest.raises(RequestInvalid, match=r"model\.keras' with other bytes"):
        publish_release(store.client, ref, write_files(tmp_path / "other", _KERAS | {"model.keras": b"new"}))
    fetch_release(store.client, ref, tmp_path / "fetched")
    assert (tmp_path / "fetched" / "model.keras").read_bytes() == _KERAS["model.keras"]


def test_an_upload_that_was_cut_off_can_be_repeated(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path
) -> None:
    upload("model.keras", _KERAS["model.keras"])
    publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    assert fetch_release(store.client, ref, tmp_path / "fetched").format is ModelFormat.KERAS


@pytest.mark.parametrize(("path", "message"), [("model.keras", "other bytes"), ("model.h5", "does not have")])
def test_what_others_left_there_is_not_overwritten(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path, path: str, message: str
) -> None:
    upload(path, b"theirs")
    with pytest.raises(RequestInvalid, match=message):
        publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    with pytest.raises(ReleaseIncomplete):
        read_request_file(store.client, ref)


def test_publishing_the_same_folder_again_is_idempotent(
    store: Store, ref: ReleaseRef, tmp_path: Path
) -> None:
    folder = write_files(tmp_path / "local", _KERAS)
    assert list(publish_release(store.client, ref, folder).new) == ["model.keras", "build.yaml"]
    assert publish_release(store.client, ref, folder).new == {}


def test_a_dry_run_says_what_would_be_uploaded_and_writes_nothing(
    store: Store, ref: ReleaseRef, tmp_path: Path
) -> None:
    plan = plan_upload(store.client, ref, write_files(tmp_path / "local", _KERAS))
    assert list(plan.new) == ["model.keras", "build.yaml"]
    assert _keys(store, ref) == []


def test_a_request_is_replaced_without_the_model_and_its_former_versions_are_kept(
    store: Store, ref: ReleaseRef, tmp_path: Path
) -> None:
    publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    before = fetch_release(store.client, ref, tmp_path / "before")
    second, third = b"precisions: [fp32]\n", b"samples: new.npz\n"
    corrected = write_files(tmp_path / "corrected", {"build.yaml": second})
    with pytest.raises(RequestInvalid, match="--replace-request"):
        publish_release(store.client, ref, write_files(tmp_path / "local", {"build.yaml": second}))
    publish_release(store.client, ref, corrected, replace_request=True)
    assert publish_release(store.client, ref, corrected, replace_request=True).new == {}
    write_files(corrected, {"build.yaml": third, "new.npz": b"samples"})
    upload = publish_release(store.client, ref, corrected, replace_request=True)
    assert list(upload.new) == ["new.npz", "build.yaml"]

    versions = request_versions(store.client, ref)
    assert [version.number for version in versions] == [1, 2, 3]
    contents = [read_request_version(store.client, ref, version.number) for version in versions]
    assert contents == [_FIRST, second, third]
    with pytest.raises(NotStored, match="1, 2, 3"):
        read_request_version(store.client, ref, 4)

    after = fetch_release(store.client, ref, tmp_path / "after")
    assert [file.path for file in after.files] == ["build.yaml", "model.keras", "new.npz"]
    assert after.model_digest == before.model_digest


def test_a_replaced_request_cannot_bring_another_model(store: Store, ref: ReleaseRef, tmp_path: Path) -> None:
    publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    changes: tuple[dict[str, bytes], ...] = ({"model.keras": b"other"}, {"model.h5": b"a second one"})
    for number, change in enumerate(changes):
        folder = write_files(tmp_path / str(number), {"build.yaml": b"# corrected", **change})
        with pytest.raises((RequestInvalid, ReleaseIncomplete)):
            publish_release(store.client, ref, folder, replace_request=True)
    assert read_request_file(store.client, ref) == _FIRST
    assert _keys(store, ref) == ["build.yaml", "model.keras"]


def test_of_two_who_replace_a_request_at_the_same_moment_one_is_refused(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    swap = transfer.put_if_unchanged

    def after_another(*arguments: object, **named: str) -> bool:
        upload("build.yaml", b"# theirs")
        return swap(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(request_history, "put_if_unchanged", after_another)
    mine = write_files(tmp_path / "mine", {"build.yaml": b"# mine"})
    with pytest.raises(RequestInvalid, match="somebody else replaced it"):
        publish_release(store.client, ref, mine, replace_request=True)
    assert read_request_file(store.client, ref) == b"# theirs"
    monkeypatch.undo()
    publish_release(store.client, ref, mine, replace_request=True)
    contents = [read_request_version(store.client, ref, number) for number in (1, 2, 3)]
    assert contents == [_FIRST, b"# theirs", b"# mine"]


def test_a_replacement_that_was_cut_off_can_be_repeated(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path
) -> None:
    publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    upload("requests/1.yaml", _FIRST)  # it was kept, and the connection broke then
    publish_release(
        store.client, ref, write_files(tmp_path / "new", {"build.yaml": b"# new"}), replace_request=True
    )
    assert _keys(store, ref) == ["build.yaml", "model.keras", "requests/1.yaml"]


def test_a_request_that_another_program_overwrote_is_among_the_versions_since_a_run_kept_it(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path
) -> None:
    publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    by_hand = b"# by hand\n"
    for request in (_FIRST, by_hand):
        upload("build.yaml", request)
        for _ in range(2):  # two runs
            keep_request(store.client, ref, request)
    assert _keys(store, ref) == ["build.yaml", "model.keras", "requests/1.yaml", "requests/2.yaml"]

    published = write_files(tmp_path / "new", {"build.yaml": b"# new\n"})
    for expected in ([_FIRST, by_hand], [_FIRST, by_hand, b"# new\n"]):
        numbers = [version.number for version in request_versions(store.client, ref)]
        assert numbers == list(range(1, len(expected) + 1))
        assert [read_request_version(store.client, ref, number) for number in numbers] == expected
        publish_release(store.client, ref, published, replace_request=True)


def test_a_run_that_may_not_write_into_releases_goes_on_and_knows_why(
    faulty_store: Callable[[str], Store],
) -> None:
    ref = ReleaseRef(bucket=faulty_store("denied").bucket, prefix="models", model="m", version="1")
    assert isinstance(asyncio.run(publish.keep_request(ref, _FIRST)), StoreDenied)


def test_no_request_is_replaced_on_a_server_that_ignores_the_condition(
    faulty_store: Callable[[str], Store], tmp_path: Path
) -> None:
    client, bucket = (store := faulty_store("matchless")).client, store.bucket
    ref = ReleaseRef(bucket=bucket, prefix="models", model="m", version="1")
    publish_release(client, ref, write_files(tmp_path / "local", _KERAS))
    new = write_files(tmp_path / "new", {"build.yaml": b"# new"})
    with pytest.raises(StoreUnsafe, match=r"honours If-Match .*requests/1\.yaml"):
        publish_release(client, ref, new, replace_request=True)
    assert read_request_file(client, ref) == _FIRST


def test_links_are_not_published(store: Store, ref: ReleaseRef, tmp_path: Path) -> None:
    folder = write_files(tmp_path / "local", _KERAS)
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(ArchiveRefused, match="link"):
        publish_release(store.client, ref, folder)


def test_a_folder_without_request_file_is_not_published(
    store: Store, ref: ReleaseRef, tmp_path: Path
) -> None:
    with pytest.raises(ReleaseIncomplete, match=r"build\.yaml"):
        publish_release(store.client, ref, write_files(tmp_path / "local", {"model.h5": b"x"}))
