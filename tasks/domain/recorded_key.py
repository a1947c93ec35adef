"""Recomputes the build key from an engine's record, as any consumer can.

It takes the record's document, not the values that were read from it: a key covers every option of the
version that wrote the record, and another version knows others. Needs the standard library alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.domain.digest import engine_digest, model_digest


def recorded_build_key(document: Mapping[str, Any]) -> str | None:
    """Return the build key that an engine's record comes to; None for a record from before it had `opset`.

    Raises:
        KeyError, TypeError, AttributeError: it is not the document of an engine record.
    """
    opset = document.get("opset")
    if opset is None:
        return None
    release = document["release"]
    digests = {file["path"]: file["sha256"] for file in release["files"]}
    parts = {name: document[name] for name in ("options", "tools", "target")}
    return engine_digest(model=model_digest(release["format"], digests), opset=opset, **parts)
