"""Makes the wheel `enginefarm-client` out of the farm's own modules: those that the public module needs.

They are found by walking imports from the files in `enginefarm/`, and are placed in `enginefarm/_farm`, where
`tasks.` is `enginefarm._farm.`. The checkout has no second copy.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_TASKS = re.compile(r"\btasks\.(?=[a-z])")


class ClientHook(BuildHookInterface[Any]):
    """Adds the package `enginefarm` to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the package to a folder that the wheel includes."""
        del version
        folder = Path(self.directory) / "package"
        shutil.rmtree(folder, ignore_errors=True)
        write_package(folder)
        build_data["force_include"][str(folder)] = "enginefarm"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the folder."""
        del version, build_data, artifact_path
        shutil.rmtree(Path(self.directory) / "package", ignore_errors=True)


def write_package(folder: Path) -> None:
    """Write the package `enginefarm` to `folder`."""
    public = sorted((_HERE / "enginefarm").glob("*.py"))
    for path in public:
        _write(folder / path.name, path)
    for path in sorted(needed(public)):
        _write(folder / "_farm" / path.relative_to(_ROOT / "tasks"), path)
    (folder / "py.typed").touch()


def needed(public: list[Path]) -> set[Path]:
    """Return the files that `public` imports, directly or not, also inside functions, with their data."""
    files: set[Path] = set()
    waiting = list(public)
    while waiting:
        path = waiting.pop()
        new = {file for module in _imported(path) for file in _files_of(module)} - files
        files |= new
        waiting += new
    return files | {data for path in files for data in _data_of(path)}


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files_of(module: str) -> Iterator[Path]:
    """Yield the file of `module` and those of the packages above it; nothing if it is not the farm's."""
    parts = module.split(".")
    if parts[0] != "tasks":
        return
    for length in range(1, len(parts) + 1):
        path = _ROOT.joinpath(*parts[:length])
        yield from (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file())


def _data_of(path: Path) -> Iterator[Path]:
    """Yield the files beside `path` that it names and that are no modules."""
    text = path.read_text("utf-8")
    for file in path.parent.iterdir():
        if file.is_file() and file.suffix not in {".py", ".md"} and f'"{file.name}"' in text:
            yield file


def _write(into: Path, path: Path) -> None:
    into.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".py":
        shutil.copyfile(path, into)
        return
    into.write_text(_TASKS.sub("enginefarm._farm.", path.read_text("utf-8")), "utf-8")
