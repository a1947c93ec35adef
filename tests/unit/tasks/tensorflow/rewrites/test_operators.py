"""Operations on the values at which graphs go wrong without a word, and in an engine of TensorRT-RTX."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[5]

Compared = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def compare(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Compared]:
    """A function that compares the cases of a file in `tests/assets/operators`, and builds what converts."""

    def run(script: str, *arguments: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command: list[str | Path] = [sys.executable, _ROOT / "tests" / "support" / script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]

    def compared(module: str) -> Compared:
        folder = tmp_path_factory.mktemp(module)
        run("operators.py", _ROOT / "tests" / "assets" / "operators" / f"{module}.py", folder)
        run("operator_builds.py", folder)
        builds = json.loads((folder / "builds.json").read_text())
        cases: Compared = json.loads((folder / "operators.json").read_text())
        return {name: case | {"engine": builds.get(name)} for name, case in cases.items()}

    return compared


def test_integers_scatters_and_segments_are_those_of_tensorflow(compare: Callable[[str], Compared]) -> None:
    cases = compare("silent")
    assert len(cases) > 30
    assert {name: case for name, case in cases.items() if case.get("differences") != []} == {}
    assert {name: case["engine"] for name, case in cases.items() if case["engine"] != "built"} == {}
