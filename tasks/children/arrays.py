"""Arrays by name as `.npz` files, without pickles, and their rows.

Needs only NumPy, from 1.26 on, and Python 3.10.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from tasks.children.compare import Arrays


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write `arrays` to `path` as an uncompressed `.npz`.

    Not `numpy.savez`, which takes names as its own arguments: an output may be called `file`, and before
    NumPy 2.2 it added `allow_pickle` as an array.
    """
    with zipfile.ZipFile(path, "w", allowZip64=True) as packed:
        for name, array in arrays.items():
            with packed.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def read_arrays(path: Path) -> Arrays:
    """Return the arrays of the untrusted `.npz` at `path`.

    Raises:
        ValueError: the file is damaged, is not an `.npz`, or contains something other than plain arrays.
        MemoryError: an array does not fit into memory.
    """
    try:
        with path.open("rb") as data, np.load(data, allow_pickle=False) as file:
            arrays = {name: file[name] for name in getattr(file, "files", ())}
            is_packed = isinstance(file, np.lib.npyio.NpzFile)
    except (OSError, EOFError, TypeError, AttributeError, RuntimeError, KeyError, zipfile.BadZipFile,
            zlib.error, NotImplementedError) as error:  # fmt: skip
        raise ValueError(f"{type(error).__name__}: {error}") from error
    other = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if not is_packed or other:
        raise ValueError(f"{', '.join(other)} is not an array" if other else "not an .npz of arrays")
    return arrays


def fitted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return `array` repeated or cut along each of its dimensions until it has this shape."""
    repeats = [-(-want // have) for want, have in zip(shape, array.shape, strict=True)]
    return np.ascontiguousarray(np.tile(array, repeats)[tuple(slice(dim) for dim in shape)])


def rows_with(marked: np.ndarray) -> np.ndarray:
    """Return for each row of `marked` whether something in it is true; without dimensions it is one row."""
    return np.asarray(marked.reshape(len(marked) if marked.ndim else 1, -1).any(axis=1))
