"""Files of Keras 2 mean what they meant to the Keras that wrote them; tests/assets/keras2 has its answers."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.support.rounding import beyond_rounding

ROOT = Path(__file__).parents[4]
FILES = ROOT / "tests" / "assets" / "keras2"
ROUNDING = 1e-5
HALF_STEPS = 2e-3  # of FP16, which the mixed models compute in
DEAR = ("sequence", "ids")  # dozens of loops each


def members(archive: str) -> list[str]:
    with zipfile.ZipFile(FILES / archive) as packed:
        return [name for name in packed.namelist() if name.endswith((".h5", ".keras"))]


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


def test_files_that_were_once_wrong_compute_what_the_keras_that_wrote_them_did(tmp_path: Path) -> None:
    answers = read(tmp_path, [f"cases.zip:{member}" for member in members("cases.zip")])
    assert wrong(answers) == {}
    assert len(answers) == 3


@pytest.mark.slow
def test_layers_of_keras_2_compute_what_the_keras_that_wrote_them_did(tmp_path: Path) -> None:
    """All but the dearest of three versions."""
    files = [f"2.0.9.zip:{member}" for member in members("2.0.9.zip")]
    for name, ending in (("2.2.4.zip", ".h5"), ("2.15.0.zip", ".keras")):
        files += [f"{name}:{member}" for member in members(name) if member.endswith(ending)]
    cheap = [file for file in files if file.startswith("2.0.9") or Path(file.split(":")[1]).stem not in DEAR]
    answers = read(tmp_path, cheap)
    assert wrong(answers) == {}
    assert len({name for errors in answers.values() for name in errors}) > 100  # layers


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("module", ["old_models.py", "keras2_files.py"])
def test_every_old_model_converts_and_builds(
    convert_functions: Callable[..., dict[str, Any]], module: str
) -> None:
    answers = convert_functions(module)
    assert {name: answer["error"] for name, answer in answers.items() if "error" in answer} == {}
    assert {name: answer["engine"] for name, answer in answers.items() if answer["engine"] != "built"} == {}
    off = {
        name: beyond_rounding(answer["comparisons"])
        for name, answer in answers.items()
        if "mixed" not in name
    }
    assert {name: rows for name, rows in off.items() if rows} == {}


@pytest.mark.long
@pytest.mark.parametrize("archive", ["1.4.1", "1.13.2"])
def test_models_of_tensorflow_1_compute_what_it_answered(
    convert_functions: Callable[..., dict[str, Any]], archive: str
) -> None:
    answers = convert_functions("old_models.py")
    with zipfile.ZipFile(FILES.parent / "tensorflow1" / f"{archive}.zip") as packed:
        members = [name for name in packed.namelist() if name.endswith(".npz")]
        for member in members:
            given = np.load(io.BytesIO(packed.read(member)))
            name = f"tensorflow1-{archive}-{member.removesuffix('.npz')}".replace(".", "_")
            outputs = [output for output in given.files if output != "x"]
            session = onnxruntime.InferenceSession(answers[name]["graph"])
            for output, result in zip(outputs, session.run(outputs, {"x": given["x"]}), strict=True):
                np.testing.assert_allclose(result, given[output], rtol=0, atol=1e-6)
    assert len(members) > 6


@pytest.mark.long
@pytest.mark.parametrize("name", ["2.0.9.zip", "2.2.4.zip", "2.4.0.zip", "2.15.0.zip"])
def test_every_file_of_keras_2_computes_what_the_keras_that_wrote_it_did(tmp_path: Path, name: str) -> None:
    answers = read(tmp_path, [f"{name}:{member}" for member in members(name)])
    assert wrong(answers) == {}
