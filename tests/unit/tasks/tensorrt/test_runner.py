"""The runner in a toolchain's interpreter, on a stand-in for TensorRT and the GPU; see `runner_cases`."""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stand_in.toolchain import H100, SECOND_H100, write_toolchain
from tests.support.runner_cases import main

FOLDER = Path(main.__file__).parent
CASES = [
    f"{module}.{node.name}"
    for module in main.MODULES
    for node in ast.parse((FOLDER / f"{module}.py").read_text("utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith(main.PREFIX)
]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], str]:
    """A function that returns how a case ended in a version of TensorRT: an empty text where it is fine."""
    known: dict[str, dict[str, str]] = {}

    def run(version: str, case: str) -> str:
        if version not in known:
            folder = tmp_path_factory.mktemp("cases")
            toolchain = write_toolchain(folder / "stand-in", version=version, gpus=(H100, SECOND_H100))
            command = [str(toolchain.interpreter), "-m", main.__name__, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            known[version] = json.loads((folder / "cases.json").read_text("utf-8"))
        return known[version][case]

    return run


@pytest.mark.parametrize("version", ["8.6.0", "10.13.3.9"])
@pytest.mark.parametrize("case", CASES)
def test_case(case: str, version: str, outcome: Callable[[str, str], str]) -> None:
    failure = outcome(version, case)
    assert not failure, failure
