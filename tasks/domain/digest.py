"""Content identity: the SHA-256 and size of bytes, and of canonical JSON documents."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
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


def model_digest(model: str, digests: Mapping[str, str]) -> str:
    """Return the digest of a model's bytes, including every weight file.

    Args:
        model: the model's file or folder in its release.
        digests: the SHA-256 of each file of the release, by path; others than the model's do not count.
    """
    return document_digest(
        {path: sha256 for path, sha256 in digests.items() if path == model or path.startswith(f"{model}/")}
    )


def engine_digest(*, model: str, opset: int, options: Any, tools: Any, target: Any) -> str:
    """Return the digest of everything that decides an engine, as documents; `model` is a digest."""
    parts = {"model": model, "opset": opset, "options": options, "tools": tools, "target": target}
    return document_digest({"kind": "engine/1", **parts})
