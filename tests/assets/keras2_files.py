"""Every file of Keras 2 in `keras2/`, for convert_functions.py, which converts and compares them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "keras2"


def _unpacked(archive: Path, member: str) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        with zipfile.ZipFile(archive) as packed:
            path.with_suffix(Path(member).suffix).write_bytes(packed.read(member))

    return save


CASES: dict[str, Any] = {
    f"{archive.stem}-{member}".replace(".", "_"): (_unpacked(archive, member), None, None)
    for archive in sorted(_FOLDER.glob("*.zip"))
    for member in zipfile.ZipFile(archive).namelist()
    if not member.endswith(".npz")
}
