"""Loads files of Keras 2 as the farm does, and compares with what the Keras that wrote them answered.

Usage: read_keras2.py ANSWERS.json ZIP:MEMBER...; writes, for each output of each file, its largest difference
over the largest value, or what went wrong with the file.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tasks.tensorflow.keras2_child import LIBRARY
from tasks.tensorflow.keras_files import is_legacy
from tasks.tensorflow.preflight.keras_config import check_h5, check_keras


def _errors(path: Path, answers: Any) -> dict[str, float]:
    (check_keras if path.suffix == ".keras" else check_h5)(path)
    assert is_legacy(path)
    model = LIBRARY.load(path)
    inputs = [answers[f"in.{place}"] for place in range(len(model.inputs))]
    results = LIBRARY.flatten(model(inputs if len(inputs) > 1 else inputs[0], training=False))
    wanted = [answers[f"out.{place}"] for place in range(len(answers["names"]))]
    return {
        str(name): _off(want, np.asarray(result))
        for name, want, result in zip(answers["names"], wanted, results, strict=True)
    }


def _off(wanted: Any, result: Any) -> float:
    if wanted.shape != result.shape:
        return float("inf")
    return float(np.abs(wanted - result).max() / max(np.abs(wanted).max(), 1e-9))


def main(target: Path, files: list[str]) -> None:
    """Read every file."""
    errors: dict[str, Any] = {}
    for file in files:
        name, member = file.split(":")
        with zipfile.ZipFile(name) as packed, tempfile.TemporaryDirectory() as work:
            answers = np.load(io.BytesIO(packed.read(f"{Path(member).stem}.npz")))
            path = Path(packed.extract(member, work))
            try:
                errors[file] = _errors(path, answers)
            except Exception as error:  # noqa: BLE001 (whatever it is, the test shows it)
                errors[file] = f"{type(error).__name__}: {error}"
    target.write_text(json.dumps(errors))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
