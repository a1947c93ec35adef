"""SavedModels of TensorFlow 1 and of Keras 2, for convert_functions.py."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ASSETS = Path(__file__).parent
_FOLDER = ".saved_model/"
_TOKENS = {"ids": {"min": [1, 3], "opt": [3, 6], "max": [4, 9]}}
_SHAPES = {"masked": _TOKENS, "masked_both_ways": _TOKENS}


def _unpacked(archive: Path, name: str) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        with zipfile.ZipFile(archive) as packed:
            members = [member for member in packed.namelist() if member.startswith(name + _FOLDER)]
            packed.extractall(path.parent / "unpacked", members)
        (path.parent / "unpacked" / f"{name}.saved_model").rename(path)

    return save


def _names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as packed:
        return sorted({name.split(_FOLDER)[0] for name in packed.namelist() if _FOLDER in name})


CASES: dict[str, Any] = {
    f"{archive.parent.name}/{archive.stem}/{name}".replace("/", "-").replace(".", "_"): (
        _unpacked(archive, name),
        None,
        _SHAPES.get(name),
    )
    for archive in sorted(_ASSETS.glob("tensorflow1/*.zip")) + sorted(_ASSETS.glob("keras2/*.zip"))
    for name in _names(archive)
}
