"""Checks a file of samples before NumPy reads it: NumPy allocates whatever a header declares."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from tasks.domain.errors import ArchiveRefused
from tasks.tensorflow.preflight.archives import ArchiveLimits, check_zip

_LIMITS = ArchiveLimits(members=1000, total=4 << 30)
_VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def check_npz(path: Path) -> list[str]:
    """Compare the declared size of every array in the `.npz` at `path` with its bytes; return the names.

    Raises:
        ValueError: the file is no `.npz`, its archive is hostile, or an array is not what its header says.
    """
    try:
        check_zip(path, _LIMITS)
    except ArchiveRefused as error:
        raise ValueError(error.found) from error
    with zipfile.ZipFile(path) as packed:
        for info in packed.infolist():
            with packed.open(info) as data:
                declared = _declared_size(data)
                if declared != info.file_size:
                    mismatch = f"{info.file_size} bytes for an array whose header declares {declared}"
                    raise ValueError(f"{info.filename}: {mismatch}")
        return [info.filename.removesuffix(".npy") for info in packed.infolist()]


def _declared_size(data: IO[bytes]) -> int:
    """Return how many bytes the array takes with its header."""
    read_header = _VERSIONS.get(np.lib.format.read_magic(data))
    if read_header is None:
        raise ValueError("a header of a version that only field names need")
    shape, _, dtype = read_header(data)
    if dtype.hasobject:
        raise ValueError("Object arrays are refused: reading them runs code (allow_pickle)")
    if any(size < 0 for size in shape):
        raise ValueError(f"a shape of {shape}")
    return data.tell() + math.prod(shape) * dtype.itemsize
