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
_MODULES = ("silent", "numbers", "shapes", "sizes", "pictures")
Compared = dict[str, dict[str, Any]]

NOT_DETERMINED = {"floormod_uncounted": "the last bit of the number decides"}
"""What is not TensorFlow's, because TensorFlow does not define it.

The manual (tf.math.floormod) defines the remainder by floor(x / y) * y + floormod(x, y) = x. From a quotient
of 2^24 on, floats are further apart than the divisor is long: the equation holds to rounding for each number
between 0 and the divisor, and TensorFlow's is that of the last bit of x. Ours lies between them, as another
case shows.
"""

_SEGMENTS = "a number of segments that is constant or a size"
REFUSED = {
    "dilation2d": ("Dilation2D (node Dilation2D)", "replace Dilation2D by other operations"),
    "segment_sum_of_values": ("SegmentSum (node SegmentSum)", _SEGMENTS),
    "sparse_segment_sum_of_values": ("SparseSegmentSum (node SparseSegmentSum)", _SEGMENTS),
    "unsorted_segment_sum_of_values": ("UnsortedSegmentSum (node UnsortedSegmentSum)", _SEGMENTS),
    "diag_of_ratio": ("MatrixDiagV3 (node diag)", "give k as a number"),
    "bincount_of_least": ("DenseBincount (layer bincount, node bincount/DenseBincount)", "minlength=n"),
}
"""What has no ONNX form, with what the error says, and its way out."""

NOT_BUILT = {
    "take_by_input": "missing values for shape input tensor b",
    "boolean_mask": "depends on values",
    "where_indices": "depends on values",
    "repeat_by_input": "depends on values",
    "dynamic_partition": "depends on values",
    "unique": "depends on values",
}
"""What TensorRT-RTX takes in no form, with what the error says."""


@pytest.fixture(scope="module")
def compare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Compared]:
    """A function that compares what is in `tests/assets/operators`, and builds what converts."""

    def run(script: str, *arguments: Path | str) -> None:
        environment = os.environ | {"PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command: list[str | Path] = [sys.executable, _ROOT / "tests" / "support" / script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]

    def compared(*options: str) -> Compared:
        folder = tmp_path_factory.mktemp("operators")
        modules = (_ROOT / "tests" / "assets" / "operators" / f"{module}.py" for module in _MODULES)
        run("operators.py", folder, *options, *modules)
        run("operator_builds.py", folder)
        builds = json.loads((folder / "builds.json").read_text())
        cases: Compared = json.loads((folder / "operators.json").read_text())
        return {name: case | {"engine": builds.get(name)} for name, case in cases.items()}

    return compared


def test_what_was_once_wrong_is_that_of_tensorflow_and_builds(compare: Callable[..., Compared]) -> None:
    cases = compare("--quick")
    taken = {name: case for name, case in cases.items() if name not in REFUSED}
    assert len(taken) > 60
    assert {name: case for name, case in taken.items() if case.get("differences") != []} == {}
    assert {name: case["engine"] for name, case in taken.items() if case["engine"] != "built"} == {}
    for name in cases.keys() & REFUSED.keys():
        error = cases[name]["error"]
        assert error["class"] == "OperationUnsupported"
        reason, way_out = REFUSED[name]
        assert reason in error["found"]
        assert way_out in error["fix"]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_operation_is_that_of_tensorflow(compare: Callable[..., Compared]) -> None:
    cases = compare()
    assert len(cases) > 400
    errors = {name: case["error"] for name, case in cases.items() if "error" in case}
    assert errors.keys() == REFUSED.keys(), errors
    assert [name for name, (text, _) in REFUSED.items() if text not in errors[name]["found"]] == []
    different = {name: case["differences"] for name, case in cases.items() if case.get("differences")}
    assert different.keys() == NOT_DETERMINED.keys(), different
    refused = {name: case["engine"] for name, case in cases.items() if case["engine"] not in ("built", None)}
    assert refused.keys() == NOT_BUILT.keys(), refused
    assert [name for name, text in NOT_BUILT.items() if text not in refused[name]] == []
