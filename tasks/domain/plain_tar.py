"""Tar files of which every byte is decided by the names and contents: plain files, no times, no owners.

Whoever knows the contents knows the file, so a reader compares headers and never interprets them. Runs on
consumers: Python 3.10, the standard library alone.
"""

from __future__ import annotations

import tarfile

BLOCK = tarfile.BLOCKSIZE
_MODE = 0o644
_LARGEST_USTAR = (8 << 30) - 1


def tar_header(name: str, size: int) -> bytes:
    """Return the header of a file of `size` bytes: one block.

    Raises:
        ValueError: the name does not fit in it.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, _MODE
    block = info.tobuf(
        tarfile.USTAR_FORMAT if size <= _LARGEST_USTAR else tarfile.GNU_FORMAT, "utf-8", "strict"
    )
    if len(block) != BLOCK:
        raise ValueError(f"{name!r} is too long for the header of a tar file")
    return block


def tar_padding(size: int) -> bytes:
    """Return what follows a file of `size` bytes."""
    return bytes(-size % BLOCK)


def tar_ending(size: int) -> bytes:
    """Return what ends a tar file with `size` bytes so far."""
    return bytes(2 * BLOCK + -(size + 2 * BLOCK) % tarfile.RECORDSIZE)


def described_header(block: bytes) -> str:
    """Return what the header `block` says, for the error that refuses it."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except tarfile.HeaderError as error:
        return f"a damaged header: {error}"
    if info.issym() or info.islnk():
        return f"{info.name!r}, a link to {info.linkname!r}"
    if not info.isreg() or info.issparse():
        return f"{info.name!r}, which is no plain file"
    return f"{info.name!r} of {info.size} bytes, or with other owners or times"


def stated_size(block: bytes) -> int:
    """Return the size that the header `block` states; -1 if it is no header."""
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "replace").size
    except tarfile.HeaderError:
        return -1
