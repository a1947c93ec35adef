"""Arrays as files: whatever their names are, and nothing but plain arrays."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tasks.children.arrays import read_arrays, write_arrays


def test_what_is_written_is_read(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        "file": np.arange(3),
        "allow_pickle": np.zeros((2, 0), np.float16),
        "scope/name:0": np.array(2.5),
        "strided": np.arange(12).reshape(3, 4)[:, ::2],
    }
    write_arrays(tmp_path / "a.npz", arrays)
    read = read_arrays(tmp_path / "a.npz")
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)
    with np.load(tmp_path / "a.npz") as numpy_reads:
        assert numpy_reads.files == list(arrays)


def test_objects_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_arrays(tmp_path / "a.npz", {"x": np.array([object()])})


def member(data: bytes, name: str = "x.npy") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, data)
    return packed.getvalue()


def header(shape: tuple[int, ...]) -> bytes:
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(data, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return data.getvalue()


def pickled() -> bytes:
    packed = io.BytesIO()
    np.savez(packed, x=np.array([{}], dtype=object))
    return packed.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"no archive", member(b"text"), member(b"text", "x"), member(header((4,))),
        member(header((-1,))), header((0,)), pickled(), member(header((4,)) + b"\0" * 16)[:-30],
    ],
    ids=["empty", "text", "text in it", "no array", "short", "negative", "one array", "pickle", "cut"],
)  # fmt: skip
def test_other_files_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"\w"):
        read_arrays(tmp_path / "a.npz")


def test_an_array_that_no_memory_holds(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(member(header((1 << 46,))))
    with pytest.raises(MemoryError):
        read_arrays(tmp_path / "a.npz")
