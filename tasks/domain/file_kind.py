"""The kind of a file by its first bytes, whatever its name."""

from __future__ import annotations

HEAD_BYTES = 264
"""The number of first bytes that decide the kind."""

LFS_POINTER = "a Git LFS pointer, a placeholder for a file that was not downloaded"
GZIP, ZIP, TAR, HDF5 = "a gzip file", "a zip archive", "a tar archive", "an HDF5 file"

_TAR_AT = 257
_KINDS = (
    (b"version https://git-lfs.github.com/spec/", LFS_POINTER),
    (b"\x1f\x8b", GZIP),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),  # an empty zip archive
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip archive"),
    (b"<!DOCTYPE html", "a page of HTML"),
    (b"<html", "a page of HTML"),
)


def kind_of(head: bytes) -> str | None:
    """Return the kind of a file that starts with `head`, for people; None if its bytes do not decide it."""
    if not head:
        return "an empty file"
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return TAR
    return next((kind for start, kind in _KINDS if head.startswith(start)), None)
