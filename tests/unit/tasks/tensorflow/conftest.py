"""Limits for tests of the TensorFlow side, and many small functions converted at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from tasks.children.run import Limits
from tests.support.slow import slow_run

_ROOT = Path(__file__).parents[4]
_ASSETS = _ROOT / "tests" / "assets"
# TensorRT allocates and zeroes a large buffer for each engine: half of the time is page faults.
_KEEPS_MEMORY = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(1 << 32))


@pytest.fixture(scope="session")
def limits() -> Limits:
    """Enough for a small model on a busy machine."""
    return Limits(memory_mib=6144)


@pytest.fixture(scope="session")
def convert_functions(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Callable[..., dict[str, Any]]:
    """A function that converts, compares and builds all of a file in `tests/assets`; answers by case.

    With precisions it lowers, compares and builds in each of them. Cases named `slow` are left out if tests
    with that mark are.
    """

    def run(script: str, *arguments: Path | str) -> None:
        command: list[str | Path] = [sys.executable, _ASSETS / script, *arguments]
        environment = os.environ | _KEEPS_MEMORY | {"PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]

    def convert(module: str, *precisions: str, slow: Collection[str] = ()) -> dict[str, Any]:
        left_out = () if slow_run(pytestconfig) else slow
        folder = tmp_path_factory.mktemp("functions")
        run("convert_functions.py", _ASSETS / module, folder, *left_out)
        run("build_functions.py", folder, *precisions)
        answers: dict[str, Any] = json.loads((folder / "converted.json").read_text())
        built = json.loads((folder / "built.json").read_text())
        return {name: answer | built.get(name, {}) for name, answer in answers.items()}

    return convert
