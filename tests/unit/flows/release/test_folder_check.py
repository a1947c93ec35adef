"""What is said of a folder before anything of it is uploaded."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from flows.release.folder_check import check_folder
from tasks.domain.errors import (
    ArchiveRefused,
    FarmError,
    ModelUnreadable,
    ReleaseIncomplete,
    RequestInvalid,
    SamplesInvalid,
)
from tasks.domain.release import ModelFormat

_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 94371840\n"
Folder = Callable[[Mapping[str, bytes]], Path]


def _zip(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as packed:
        for name in names:
            packed.writestr(name, b"x")
    return data.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    data = io.BytesIO()
    np.savez(data, **arrays)  # type: ignore[arg-type]
    return data.getvalue()


_MODEL = {"model.keras": _zip("config.json")}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A function that writes files into a folder, and returns it."""

    def write(files: Mapping[str, bytes]) -> Path:
        for path, data in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(data)
        return tmp_path

    return write


def test_a_good_folder_passes(folder: Folder) -> None:
    request = (
        b"\xef\xbb\xbfprecisions: [fp16, int8]\ntargets: [rtx-sm89, l4, our-gpu]\n"
        b"samples: s.npz\ninputs: {x: [1, 8]}"
    )
    checked = check_folder(folder({**_MODEL, "build.yaml": request, "s.npz": _npz(x=np.zeros((64, 8)))}))
    assert checked.format is ModelFormat.KERAS
    assert checked.request.precisions == ("fp16", "int8")
    assert [note.split(" ")[0] for note in checked.notes] == ["our-gpu"]
    assert check_folder(checked.files["build.yaml"].parent, offered=lambda: ["our-gpu"]).notes == ()


@pytest.mark.parametrize(
    ("request_text", "said"),
    [
        ("precision: [fp16]", "did you mean precisions"),
        ("precisions: [fp16", "line 1"),
        ("targets: [rtx-sm98]", "TensorRT-RTX builds for"),
        ("targets: [h100]", "for h100 write h100-sxm-80gb or h100-pcie-80gb"),
        ("targets: [t4]\nprecisions: [bf16]", "t4 bf16: it needs compute capability 8.0"),
        ("samples: sample.npz", "did you mean samples.npz"),
        ("precisions: [int8]", "samples"),
        ("timing_cache: " + "0" * 64, "timing: reproducible"),
    ],
)
def test_a_faulty_request_is_refused_before_anything_is_uploaded(
    folder: Folder, request_text: str, said: str
) -> None:
    files = {**_MODEL, "build.yaml": request_text.encode(), "samples.npz": _npz(x=np.zeros((1, 8)))}
    with pytest.raises(RequestInvalid, match=said.replace("[", r"\[")):
        check_folder(folder(files))


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (_npz(y=np.zeros((1, 8))), "arrays y"),
        (_npz(x=np.array([{}])), "allow_pickle"),
        (b"x,1\n", "zip"),
        (_POINTER, "Git LFS pointer"),
    ],
    ids=["another input", "objects", "no npz", "pointer"],
)
def test_samples_that_no_conversion_could_read_are_refused(folder: Folder, samples: bytes, said: str) -> None:
    request = b"samples: s.npz\ninputs: {x: [1, 8]}"
    with pytest.raises(SamplesInvalid, match=said):
        check_folder(folder({**_MODEL, "build.yaml": request, "s.npz": samples}))


@pytest.mark.parametrize(
    ("files", "error", "said"),
    [
        ({"model.keras": _POINTER}, ModelUnreadable, "git lfs pull"),
        ({"saved_model/variables/variables.data": _POINTER}, ModelUnreadable, "Git LFS pointer"),
        ({"model.h5": b"PK\x03\x04" + b"0" * 99}, ModelUnreadable, "name it saved_model.zip"),
        ({"saved_model.tar.gz": b"BZh91AY"}, ArchiveRefused, "a bzip2 file"),
        ({"model.h5": b""}, ModelUnreadable, "an empty file"),
        ({"digits.keras": b""}, ReleaseIncomplete, "rename digits.keras to model.keras"),
        ({"export/1/saved_model.pb": b""}, ReleaseIncomplete, "rename export to saved_model/"),
        ({"saved_model.pb": b""}, ReleaseIncomplete, "into a folder saved_model/"),
        ({**_MODEL, "model.h5": b""}, ReleaseIncomplete, "together"),
        ({**_MODEL, "back\\slash": b""}, ArchiveRefused, "rename"),
    ],
)
def test_a_folder_without_one_readable_model_is_refused(
    folder: Folder, files: Mapping[str, bytes], error: type[FarmError], said: str
) -> None:
    with pytest.raises(error, match=said):
        check_folder(folder({"build.yaml": b"", **files}))


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid, match="nothing of that name"):
        check_folder(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(RequestInvalid, match="a file"):
        check_folder(tmp_path / "file")
