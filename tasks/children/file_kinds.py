"""Refuses files that cannot be part of a model, by their first bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasks.domain.errors import ArchiveRefused, ModelUnreadable
from tasks.domain.file_kind import GZIP, HDF5, HEAD_BYTES, LFS_POINTER, TAR, ZIP, kind_of
from tasks.domain.release import ModelFormat

_GET_FILES = "get the files themselves with `git lfs pull`, then publish again"
_EXPECTED = {
    # Before Keras 2.12, `.keras` was another name for `.h5`.
    ModelFormat.KERAS: ((ZIP, HDF5), "save the model as a .keras file with Keras 3"),
    ModelFormat.H5: ((HDF5,), "save the model with model.save(...)"),
    ModelFormat.SAVED_MODEL_TAR: ((GZIP, TAR), "pack the folder with `tar -czf saved_model.tar.gz`"),
    ModelFormat.SAVED_MODEL_ZIP: ((ZIP,), "pack the folder with `zip -r saved_model.zip`"),
    ModelFormat.ONNX: (("an ONNX graph",), "export the model as ONNX"),
}
_RIGHT_NAMES = {HDF5: ModelFormat.H5, ZIP: ModelFormat.SAVED_MODEL_ZIP, GZIP: ModelFormat.SAVED_MODEL_TAR}


def kind_of_file(path: Path) -> str | None:
    """Return the kind of the file at `path` by its first bytes, for people; None if they do not decide it."""
    with path.open("rb") as file:
        return kind_of(file.read(HEAD_BYTES))


def refuse_lfs_pointers(files: Mapping[str, Path]) -> None:
    """Refuse model files that are only Git LFS pointers; the keys are their names for people.

    Raises:
        ModelUnreadable: a file is a pointer.
    """
    pointers = [name for name, path in files.items() if kind_of_file(path) == LFS_POINTER]
    if pointers:
        raise ModelUnreadable(wanted=f"the model in {pointers[0]}", found=LFS_POINTER, fix=_GET_FILES)


def check_model_file(path: Path, form: ModelFormat) -> None:
    """Refuse the file of a model of `form` if its first bytes are those of another kind.

    Raises:
        ModelUnreadable: it is of another kind, or a Git LFS pointer.
        ArchiveRefused: it is another kind of archive.
    """
    refuse_lfs_pointers({path.name: path})
    expected, fix = _EXPECTED[form]
    kind = kind_of_file(path)
    if kind is None or kind in expected:
        return  # its reader finds a damaged file
    name = _RIGHT_NAMES.get(kind) if form in (ModelFormat.KERAS, ModelFormat.H5) else None
    refusal = (
        ArchiveRefused
        if form in (ModelFormat.SAVED_MODEL_TAR, ModelFormat.SAVED_MODEL_ZIP)
        else ModelUnreadable
    )
    raise refusal(
        wanted=f"{expected[0]} in {path.name}",
        found=kind,
        fix=f"name it {name}, if it is whole; else {fix}" if name else fix,
    )
