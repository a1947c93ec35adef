"""Limits for tests of the TensorFlow side, and many small functions converted at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.children.run import Limits

_ROOT = Path(__file__).parents[4]
_ASSETS = _ROOT / "tests" / "assets"


@pytest.fixture(scope="session")
def limits() -> Limits:
    """Enough for a small model on a busy machine."""
    return Limits(memory_mib=6144)


@pytest.fixture(scope="session")
def convert_functions(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """A function that converts, compares and builds all of a file in `tests/assets`; answers by case.

    With precisions it lowers, compares and builds in each of them.
    """

    def run(script: str, *arguments: Path | str) -> None:
        command: list[str | Path] = [sys.executable, _ASSETS / script, *arguments]
        environment = os.environ | {"PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]

    def convert(module: str, *precisions: str) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("functions")
        run("convert_functions.py", _ASSETS / module, folder)
        run("build_functions.py", folder, *precisions)
        answers: dict[str, Any] = json.loads((folder / "converted.json").read_text())
        built = json.loads((folder / "built.json").read_text())
        return {name: answer | built.get(name, {}) for name, answer in answers.items()}

    return convert
