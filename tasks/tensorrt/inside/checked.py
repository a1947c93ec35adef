"""Bytes of a file, checked against their digest before TensorRT gets them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tasks.domain.errors import DigestMismatch


def checked_bytes(path: Path, sha256: str, size: int | None, *, what: str, fix: str) -> bytes:
    """Return the file's bytes. TensorRT gets the same bytes that are hashed; the file is read only once.

    If `size` is None, only the digest is checked.

    Raises:
        DigestMismatch: they are not the expected `what`; `fix` says what to do then.
    """
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256 or size not in (None, len(data)):
        expected = "" if size is None else f" and {size} bytes"
        raise DigestMismatch(
            wanted=f"{what} with SHA-256 {sha256}{expected}",
            found=f"SHA-256 {digest} and {len(data)} bytes in {path.name}",
            fix=fix,
        )
    return data
