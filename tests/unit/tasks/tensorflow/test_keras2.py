"""Files of Keras 2 mean what they meant to the Keras that wrote them; tests/assets/keras2 has its answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]
FILES = ROOT / "tests" / "assets" / "keras2"
ROUNDING = 1e-5
HALF_STEPS = 2e-3  # of FP16, which the mixed models compute in
DEAR = ("sequence", "ids")  # dozens of loops each


def members(archive: str) -> list[str]:
    with zipfile.ZipFile(FILES / archive) as packed:
        return [name for name in packed.namelist() if not name.endswith(".npz")]


def read(folder: Path, files: list[str]) -> dict[str, Any]:
    target = folder / "answers.json"
    command: list[str | Path] = [sys.executable, ROOT / "tests/assets/read_keras2.py", target, *files]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FILES, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    answers: dict[str, Any] = json.loads(target.read_text())
    return answers


def wrong(answers: dict[str, Any]) -> dict[str, Any]:
    """Return what is further from the original than rounding explains."""
    off: dict[str, Any] = {}
    for file, errors in answers.items():
        bound = HALF_STEPS if ":mixed" in file else ROUNDING
        if isinstance(errors, str):
            off[file] = errors
        else:
            off |= {f"{file} {name}": error for name, error in errors.items() if not error < bound}
    return off


def test_layers_of_keras_2_compute_what_the_keras_that_wrote_them_did(tmp_path: Path) -> None:
    """All but the dearest of three versions, and the files that were once wrong."""
    files = [f"{name}:{member}" for name in ("cases.zip", "2.0.9.zip") for member in members(name)]
    for name, ending in (("2.2.4.zip", ".h5"), ("2.15.0.zip", ".keras")):
        files += [f"{name}:{member}" for member in members(name) if member.endswith(ending)]
    cheap = [file for file in files if file.startswith("2.0.9") or Path(file.split(":")[1]).stem not in DEAR]
    answers = read(tmp_path, cheap)
    assert wrong(answers) == {}
    assert len({name for errors in answers.values() for name in errors}) > 100  # layers


@pytest.mark.long
@pytest.mark.parametrize("name", ["2.0.9.zip", "2.2.4.zip", "2.4.0.zip", "2.15.0.zip"])
def test_every_file_of_keras_2_computes_what_the_keras_that_wrote_it_did(tmp_path: Path, name: str) -> None:
    answers = read(tmp_path, [f"{name}:{member}" for member in members(name)])
    assert wrong(answers) == {}
