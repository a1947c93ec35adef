"""The farm's own code as one of the tools: what it does decides the bytes of graphs and plans."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_TASKS = Path(__file__).resolve().parent.parent
_DIGITS = 12


@cache
def source_digest(*packages: str) -> str:
    """Return the first digits of a SHA-256 over all modules of `packages`, which lie below `tasks`."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((_TASKS / package).rglob("*.py")):
            digest.update(f"{path.relative_to(_TASKS)}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:_DIGITS]
