"""Finds the Python interpreters that an operator names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_PYTHON = "bin/python"


def interpreters_at(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the absolute paths of the Python interpreters that `paths` name, without duplicates.

    A path is an interpreter, the folder of an environment (with `bin/python` in it), or a folder of such
    folders. Any other path is returned unchanged: running it shows what is wrong with it.
    """
    folders = (Path(path).expanduser().absolute() for path in paths)
    interpreters = (str(interpreter) for folder in folders for interpreter in _interpreters(folder))
    return tuple(dict.fromkeys(interpreters))


def _interpreters(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    interpreter = path / _PYTHON
    return [interpreter] if interpreter.exists() else sorted(path.glob(f"*/{_PYTHON}")) or [path]
