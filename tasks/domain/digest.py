"""Content identity: the SHA-256 and size of bytes, and of canonical JSON documents."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRef:
    """A reference to stored bytes: hosts exchange it instead of the bytes.

    Attributes:
        sha256: digest of the bytes, 64 hexadecimal digits.
        size: number of bytes.
    """

    sha256: str
    size: int

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"a SHA-256 has 64 lower-case hexadecimal digits, not {self.sha256!r}")
        if self.size < 0:
            raise ValueError(f"a size cannot be negative: {self.size}")

    @property
    def key(self) -> str:
        """The key of the bytes, relative to the store's root."""
        return f"blobs/sha256/{self.sha256[:2]}/{self.sha256}"


def blob_ref(data: bytes) -> BlobRef:
    """Return the reference to `data`."""
    return BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def canonical_json(document: Any) -> bytes:
    """Return the canonical JSON of `document`: sorted keys, no spaces, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def document_digest(document: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `document`, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(document)).hexdigest()
