"""Writes tar files of which every byte is decided by their contents, and files that appear complete."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.children.disk import disk_full, is_no_space
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import DigestMismatch, RequestInvalid
from tasks.domain.plain_tar import tar_ending, tar_header, tar_padding

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TarFile:
    """A file that goes into a tar.

    Attributes:
        name: its name.
        ref: its digest and size.
        pieces: yields its bytes.
    """

    name: str
    ref: BlobRef
    pieces: Callable[[], Iterable[bytes]]


def tar_document(name: str, data: bytes) -> TarFile:
    """Return a file with the bytes `data`."""
    return TarFile(name=name, ref=blob_ref(data), pieces=lambda: (data,))


def file_pieces(path: Path) -> Iterator[bytes]:
    """Yield the bytes of the file at `path`."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def tar_pieces(files: Iterable[TarFile]) -> Iterator[bytes]:
    """Yield the bytes of a tar with `files`, in their order.

    Raises:
        DigestMismatch: a file has other bytes than it should.
    """
    total = 0
    for file in files:
        yield (header := tar_header(file.name, file.ref.size))
        digest, size = hashlib.sha256(), 0
        for piece in file.pieces():
            digest.update(piece)
            size += len(piece)
            yield piece
        if (digest.hexdigest(), size) != (file.ref.sha256, file.ref.size):
            raise DigestMismatch(
                wanted=f"{file.name} with SHA-256 {file.ref.sha256} and {file.ref.size} bytes",
                found=f"SHA-256 {digest.hexdigest()} and {size} bytes",
                fix="run it again; if it fails again, look for what changes files in the cache",
            )
        yield (padding := tar_padding(size))
        total += len(header) + size + len(padding)
    yield tar_ending(total)


@contextmanager
def complete_file(path: Path, *, overwrite: bool = False) -> Iterator[IO[bytes]]:
    """Write the file at `path`: it appears when all of it is written.

    Raises:
        RequestInvalid: it exists, or its folder cannot be written to.
        DiskFull: there is no space.
    """
    if path.exists() and not overwrite:
        raise RequestInvalid(wanted=f"to write {path}", found="that it exists", fix="give another name")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with write_errors(path):
        try:
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn errors of the file system while `path` is written to the farm's.

    Raises:
        RequestInvalid: its folder cannot be written to.
        DiskFull: there is no space.
    """
    try:
        yield
    except OSError as error:
        if is_no_space(error):
            raise disk_full(f"to write {path}", str(error), path.parent) from error
        raise RequestInvalid(
            wanted=f"to write {path}", found=str(error), fix="give a path in a folder that you may write to"
        ) from error
