"""Releases: published once, and read back as they were written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tasks.children.progress import listening
from tasks.domain.errors import ArchiveRefused, ReleaseIncomplete, RequestInvalid
from tasks.domain.release import ModelFormat, ReleaseRef
from tasks.store.publishing import publish_release
from tasks.store.releases import fetch_release, read_request, read_request_file
from tasks.store.store import Store
from tests.support.releases import Upload, write_files

_ODD_NAMES = (
    "notes/a b+c.txt",
    "notes/größe-模型-🚀.txt",
    "notes/100%25 & <more> 'quoted' \"x\".txt",
    "notes/~tilde,(1);[2]{3}=@!$^`#?*|.txt",
    "notes/..dots..and.../... .txt",
)


_KERAS = {"model.keras": b"weights" * 100_000, "build.yaml": b"precisions: [fp16]\n"}


def test_a_release_comes_back_as_it_was_published(store: Store, ref: ReleaseRef, tmp_path: Path) -> None:
    files = {
        "saved_model/saved_model.pb": b"graph",
        "saved_model/variables/variables.index": b"",
        "build.yaml": "targets: all  # für alle\n".encode(),
        **{name: name.encode() for name in _ODD_NAMES},
    }
    publish_release(store.client, ref, write_files(tmp_path / "local", files))
    assert read_request_file(store.client, ref) == files["build.yaml"]
    release = fetch_release(store.client, ref, tmp_path / "fetched")
    assert release.ref == ref
    assert release.format is ModelFormat.SAVED_MODEL
    assert {file.path: file.sha256 for file in release.files} == {
        path: hashlib.sha256(data).hexdigest() for path, data in files.items()
    }
    assert all(file.size == len(files[file.path]) and file.etag for file in release.files)
    for path, data in files.items():
        assert (tmp_path / "fetched" / path).read_bytes() == data


def test_two_reads_of_one_release_are_equal(store: Store, ref: ReleaseRef, tmp_path: Path) -> None:
    publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    first = fetch_release(store.client, ref, tmp_path / "one")
    second = fetch_release(store.client, ref, tmp_path / "two")
    assert first == second
    assert first.model_digest == second.model_digest


def test_progress_grows_over_the_whole_release(store: Store, ref: ReleaseRef, tmp_path: Path) -> None:
    publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    heard: list[tuple[str, str, float]] = []
    with listening(lambda *report: heard.append(report)):
        fetch_release(store.client, ref, tmp_path / "fetched")
    fractions = [fraction for _, _, fraction in heard]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert {"model.keras", "build.yaml"} == {phase for _, phase, _ in heard}


def test_without_its_request_file_a_release_is_incomplete(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path
) -> None:
    upload("model.keras", b"still uploading")
    for read in (
        lambda: read_request_file(store.client, ref),
        lambda: fetch_release(store.client, ref, tmp_path / "fetched"),
    ):
        with pytest.raises(ReleaseIncomplete, match="last") as caught:
            read()
        assert "model.keras" in caught.value.found


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ((), "build.yaml"),
        (("weights.bin", "docs/readme.md"), "build.yaml, docs/, weights.bin"),
        (("model.keras", "model.h5"), "model.keras and model.h5 together"),
        (("model.keras", "saved_model/saved_model.pb"), "model.keras and saved_model together"),
        (("saved_model",), "build.yaml, saved_model"),
        (("model.keras/part",), "build.yaml, model.keras/"),
    ],
)
def test_a_release_has_exactly_one_model(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path, paths: tuple[str, ...], message: str
) -> None:
    for path in (*paths, "build.yaml"):
        upload(path, b"x")
    with pytest.raises(ReleaseIncomplete) as caught:
        fetch_release(store.client, ref, tmp_path / "fetched")
    assert caught.value.found == message


def test_folder_marks_of_consoles_are_passed_over(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path
) -> None:
    for path in ("", "saved_model/", "saved_model/assets/"):
        upload(path, b"")
    upload("saved_model/saved_model.pb", b"graph")
    upload("build.yaml", b"")
    release = fetch_release(store.client, ref, tmp_path / "fetched")
    assert [file.path for file in release.files] == ["build.yaml", "saved_model/saved_model.pb"]


@pytest.mark.parametrize(
    "path",
    ["../escape", "saved_model/../../escape", "/etc/x", "a//b", "./a", "back\\slash", "bell\x07", "x" * 256],
)
def test_names_that_are_no_safe_files_are_refused(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path, path: str
) -> None:
    for good in ("model.keras", "build.yaml"):
        upload(good, b"x")
    try:
        upload(path, b"x")
    except store.client.exceptions.ClientError:
        pytest.skip(f"this server does not take the key {path!r}")
    with pytest.raises(ArchiveRefused) as caught:
        fetch_release(store.client, ref, tmp_path / "fetched")
    assert "\x07" not in str(caught.value)
    assert not (tmp_path / "fetched").exists()


def test_a_name_cannot_be_file_and_folder(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path
) -> None:
    for path in ("model.keras", "build.yaml", "a", "a/b"):
        upload(path, b"x")
    with pytest.raises(ArchiveRefused, match="'a' is a file, too"):
        fetch_release(store.client, ref, tmp_path / "fetched")


@pytest.mark.parametrize("change", [b"other", None])
def test_a_release_that_changes_while_it_is_read_is_refused(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path, change: bytes | None
) -> None:
    publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))

    def disturb(_step: str, phase: str, _fraction: float) -> None:
        if phase == "build.yaml" and change is not None:
            upload("model.keras", change)
        elif phase == "build.yaml":
            store.client.delete_object(Bucket=ref.bucket, Key=f"{ref.key}model.keras")

    with listening(disturb), pytest.raises(ReleaseIncomplete, match=r"model\.keras changed or disappeared"):
        fetch_release(store.client, ref, tmp_path / "fetched")


def test_a_request_that_is_replaced_while_the_release_is_read_is_taken_as_it_is_then(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path
) -> None:
    publish_release(store.client, ref, write_files(tmp_path / "local", _KERAS))
    replaced = b"precisions: [fp32]  # corrected meanwhile, and longer\n"

    def replace(_step: str, _phase: str, _fraction: float) -> None:
        upload("build.yaml", replaced)

    with listening(replace):
        release = fetch_release(store.client, ref, tmp_path / "fetched")
    assert (tmp_path / "fetched/build.yaml").read_bytes() == replaced
    assert release.digest_of("build.yaml") == hashlib.sha256(replaced).hexdigest()


def test_a_neighbour_with_a_longer_name_is_not_read(
    store: Store, ref: ReleaseRef, upload: Upload, tmp_path: Path
) -> None:
    for path in ("model.keras", "build.yaml"):
        upload(path, b"x")
    store.client.put_object(Bucket=ref.bucket, Key=f"{ref.key.rstrip('/')}1/model.h5", Body=b"y")
    assert len(fetch_release(store.client, ref, tmp_path / "fetched").files) == 2


@pytest.mark.parametrize("data", [b"\xff\xfe", b"#" * (1 << 20) + b"#"], ids=["not text", "too large"])
def test_a_request_file_is_a_text_of_moderate_size(
    store: Store, ref: ReleaseRef, upload: Upload, data: bytes
) -> None:
    upload("build.yaml", data)
    with pytest.raises(RequestInvalid, match=r"build\.yaml"):
        read_request(store.client, ref)
