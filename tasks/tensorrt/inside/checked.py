"""Bytes from a file that are held against their digest before TensorRT sees them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tasks.domain.errors import DigestMismatch


def checked_bytes(path: Path, sha256: str, size: int | None, *, what: str, fix: str) -> bytes:
    """Return the file's bytes: what is hashed here is what TensorRT gets, not the file once more.

    A `size` that is None is not known; the digest tells all the same.

    Raises:
        DigestMismatch: they are not `what` was expected; `fix` says what to do then.
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
