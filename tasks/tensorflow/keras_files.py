"""Which Keras wrote a file: Keras 2 and Keras 3 give different meanings to some words."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py

_METADATA = "metadata.json"
_VERSION = "keras_version"
_LOADED_BY = Path("assets.extra", "loaded_by.txt")  # TensorFlow leaves this folder to other programs


def keras_version(path: Path) -> str:
    """Return the version of the Keras that wrote the checked file `path`; empty if the file does not say."""
    return _version_in_h5(path) if h5py.is_hdf5(path) else _version_in_archive(path)


def is_legacy(path: Path) -> bool:
    """Return whether the Keras before Keras 3 wrote `path`.

    An `.h5` file without a version is older than Keras 2; the format `.keras` has had one from the start.
    """
    version = keras_version(path)
    major = version.split(".", 1)[0]
    if not major.isdigit():
        return bool(h5py.is_hdf5(path))
    return int(major) < 3  # noqa: PLR2004


def write_loaded_by(saved_model: Path, library: str, path: Path) -> None:
    """Write beside the graph that `library` loaded `path`."""
    target = saved_model / _LOADED_BY
    target.parent.mkdir()
    version = keras_version(path)
    target.write_text(
        f"{library} for a file of {f'Keras {version}' if version else 'an unnamed Keras'}", "utf-8"
    )


def loaded_by(saved_model: Path) -> str:
    """Return what `write_loaded_by` wrote; empty if the release itself is a SavedModel."""
    path = saved_model / _LOADED_BY
    return path.read_text("utf-8") if path.is_file() else ""


def _version_in_archive(path: Path) -> str:
    with zipfile.ZipFile(path) as packed:
        if _METADATA not in packed.namelist():
            return ""
        metadata = json.loads(packed.read(_METADATA))
    return str(metadata.get(_VERSION, "")) if isinstance(metadata, dict) else ""


def _version_in_h5(path: Path) -> str:
    with h5py.File(path, "r") as file:
        version: Any = file.attrs.get(_VERSION, "")
    return version.decode() if isinstance(version, bytes) else str(version)
