"""The farm's own code as one of the tools: what it does decides the bytes of graphs and plans."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_TASKS = Path(__file__).resolve().parent.parent
_DIGITS = 12

GATE = "domain/gate.py"
"""What makes a verdict of figures: under another rule, what passed once may not pass again."""


@cache
def source_digest(*parts: str) -> str:
    """Return the first digits of a SHA-256 over `parts`, packages and single modules below `tasks`."""
    digest = hashlib.sha256()
    for part in parts:
        place = _TASKS / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(f"{path.relative_to(_TASKS)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:_DIGITS]
