"""Every file of Keras 2 in `keras2/`, for convert_functions.py, which converts and compares them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "keras2"
_STEPS = {"min": [1, 2, 4], "opt": [2, 5, 4], "max": [3, 9, 4]}
_SHAPES = {
    "initial_state": {"a": _STEPS, "b": _STEPS},
    "masked": {"ids": {"min": [1, 3], "opt": [3, 6], "max": [4, 9]}},
}


def _unpacked(archive: Path, member: str) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        with zipfile.ZipFile(archive) as packed:
            path.with_suffix(Path(member).suffix).write_bytes(packed.read(member))

    return save


CASES: dict[str, Any] = {
    f"{archive.stem}-{member}".replace(".", "_"): (
        _unpacked(archive, member),
        None,
        _SHAPES.get(Path(member).stem),
    )
    for archive in sorted(_FOLDER.glob("*.zip"))
    for member in zipfile.ZipFile(archive).namelist()
    if member.endswith((".h5", ".keras"))
}
