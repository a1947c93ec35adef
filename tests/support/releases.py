"""Releases as tests write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Upload = Callable[[str, bytes], None]


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write the files into `folder` and return it."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder
