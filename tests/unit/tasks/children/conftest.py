"""An interpreter that runs a copy of the farm in which `tasks.stand_in` exists."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tasks
from tasks.children.run import ChildProgram

ROOT = Path(tasks.__file__).parent


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Start the copy's `entry.py` in place of the farm's, in this Python."""
    farm = tmp_path_factory.mktemp("farm")
    for part in ("children", "domain"):
        shutil.copytree(ROOT / part, farm / "tasks" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).parents[3] / "support/children/stand_in.py", farm / "tasks" / "stand_in.py")
    script = farm / "python"
    entry = farm / "tasks" / "children" / "entry.py"
    # Asked what it reads, it names the copy, too.
    asked = f'test "$1" = -c && PYTHONPATH="{farm}" exec "{sys.executable}" "$@"'
    script.write_text(f'#!/bin/sh\n{asked}\nshift\nexec "{sys.executable}" "{entry}" "$@"\n', "utf-8")
    script.chmod(0o755)
    return str(script)


@pytest.fixture
def program(interpreter: str) -> ChildProgram:
    return ChildProgram(module="tasks.stand_in", step="try", interpreter=interpreter)


@pytest.fixture
def workdir(tmp_path: Path) -> Iterator[Path]:
    """Give a folder in which no child may leave anything."""
    folder = tmp_path / "work"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def living(tmp_path: Path) -> Callable[[], list[int]]:
    """List the processes that have this test's folder in their command line."""

    def find() -> list[int]:
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _mentions(path)]

    def _mentions(path: Path) -> bool:
        try:
            return str(tmp_path).encode() in path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False

    return find
