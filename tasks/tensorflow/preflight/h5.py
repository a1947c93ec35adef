"""Refuses HDF5 files that refer to other files, or that become far larger when they are read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from tasks.domain.errors import ModelRefused
from tasks.tensorflow.preflight.archives import ArchiveLimits

_MOST_ENTRIES = 1_000_000
_AGAIN = "save the model again with model.save(...)"


def check_entries(file: Any, path: Path, limits: ArchiveLimits | None = None) -> None:
    """Visit every entry of the open HDF5 file `file`, without reading its data.

    Args:
        file: the file as h5py opened it.
        path: the model that it belongs to, for errors.
        limits: how large all entries may become together; `members` is not used.

    Raises:
        ModelRefused: an entry would read another file of the host, or all are far larger than the file.
    """
    bounds = limits or ArchiveLimits()
    stored = file.id.get_filesize()
    allowed = min(bounds.total, bounds.free + bounds.ratio * stored)
    total = 0
    for count, (name, entry) in enumerate(_entries(file, path)):
        if count >= _MOST_ENTRIES:
            raise _refused_file(path, f"more than {_MOST_ENTRIES} entries")
        if not isinstance(entry, h5py.Dataset):
            continue
        if entry.dtype.hasobject:  # each value is a reference, and many may lead to the same large one
            raise _refused_file(path, f"{name}, of values of variable length")
        if entry.external or entry.is_virtual:
            raise _refused_file(path, f"{name}, whose data lies in another file")
        total += math.prod(entry.shape or ()) * entry.dtype.itemsize
        if total > allowed:
            raise _refused_file(
                path,
                f"{total} bytes of weights (counted up to {name}) in {stored} stored bytes, but at most "
                f"{allowed} are accepted",
            )


def _entries(file: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """Yield each group and dataset once, no matter how many names lead to it: names can form a cycle."""
    pending, seen = [("", file)], set[tuple[int, int]]()
    while pending:
        place, group = pending.pop()
        for name in group:
            link, full = group.get(name, getlink=True), f"{place}/{name}"
            if isinstance(link, h5py.SoftLink):
                continue  # leads to an entry of this file, which is visited by itself
            if not isinstance(link, h5py.HardLink):
                raise _refused_file(
                    path, f"{full}, a link to {getattr(link, 'filename', 'something unknown')}"
                )
            entry = group[name]
            info = h5py.h5o.get_info(entry.id)
            if (info.fileno, info.addr) in seen:
                continue
            seen.add((info.fileno, info.addr))
            yield full, entry
            if isinstance(entry, h5py.Group):
                pending.append((full, entry))


def _refused_file(path: Path, problem: str) -> ModelRefused:
    return ModelRefused(
        wanted=f"all of the model in {path.name}, and nothing else", found=problem, fix=_AGAIN
    )
