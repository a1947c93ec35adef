"""Refuses HDF5 files that reach into other files, need filters of plugins, or become far larger when read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import h5py

from tasks.domain.errors import ModelRefused
from tasks.domain.printable import printable_name
from tasks.tensorflow.preflight.archives import ArchiveLimits

_MOST_ENTRIES = 1_000_000
_FILTERS = (
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_LZF,
)
"""What `create_dataset` of h5py offers. HDF5 looks for any other one in a folder of plugins of the host."""

_AGAIN = "save the model again with model.save(...)"


def check_entries(file: Any, path: Path, limits: ArchiveLimits | None = None) -> None:
    """Visit every entry of the open HDF5 file `file`, without reading its data or attributes.

    Args:
        file: the file as h5py opened it.
        path: the model that it belongs to, for errors.
        limits: how large all entries may become together; `members` is not used.

    Raises:
        ModelRefused: an entry would read another file of the host, its data have a filter that is not known,
            or all are far larger than the file.
    """
    bounds = limits or ArchiveLimits()
    stored = file.id.get_filesize()
    allowed = min(bounds.total, bounds.free + bounds.ratio * stored)
    total = 0
    for count, (name, entry) in enumerate(chain([("/", file)], _entries(file, path))):
        if count > _MOST_ENTRIES:
            raise _refused_file(path, f"more than {_MOST_ENTRIES} entries")
        total += _attributes_size(entry, stored)
        if isinstance(entry, h5py.Dataset):
            _check_storage(entry, name, path)
            total += math.prod(entry.shape or ()) * entry.dtype.itemsize
        if total > allowed:
            raise _refused_file(
                path,
                f"{total} bytes of weights and attributes (counted up to {name}) in {stored} stored bytes, "
                f"but at most {allowed} are accepted",
            )


def _check_storage(entry: Any, name: str, path: Path) -> None:
    """Refuse a dataset whose values are not all in this file, in a form that HDF5 itself knows."""
    if entry.dtype.hasobject:  # each value is a reference, and many may lead to the same large one
        raise _refused_file(path, f"{name}, of values of variable length")
    if entry.external or entry.is_virtual:
        raise _refused_file(path, f"{name}, whose data lies in another file")
    created = entry.id.get_create_plist()
    for number in range(created.get_nfilters()):
        code, _, _, label = created.get_filter(number)
        if code not in _FILTERS:
            called = printable_name(label.decode("utf-8", "replace")) or "without a name"
            raise _refused_file(path, f"{name}, whose data has the filter {code} ({called})")


def _attributes_size(entry: Any, stored: int) -> int:
    """Return how large the attributes of `entry` may become at most, of a file of `stored` bytes."""
    size = 0
    for number in range(h5py.h5a.get_num_attrs(entry.id)):
        attribute = h5py.h5a.open(entry.id, index=number)
        values = math.prod(attribute.shape or ())
        if not attribute.dtype.hasobject:
            size += values * attribute.dtype.itemsize
        elif values > 1:  # all may lead to the same value, which is as large as the file
            size += values * stored
    return size


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
