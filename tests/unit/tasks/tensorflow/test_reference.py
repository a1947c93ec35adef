"""What TensorFlow is asked for the reference: numbers that the model takes, and at which graphs go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each function of `tests/assets/reference_answers.py` was asked."""
    file = tmp_path_factory.mktemp("reference") / "asked.json"
    environment = os.environ | {"PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(_ROOT / "tests" / "assets" / "reference_answers.py"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    answers: dict[str, Any] = json.loads(file.read_text())
    return answers


def test_integers_are_below_zero_unless_the_model_refuses_that(asked: dict[str, Any]) -> None:
    assert set(np.unique(asked["takes_any"]["corners"]["max"])) == {-1, 0, 1}
    assert set(np.unique(asked["refuses_negative"]["corners"]["max"])) == {0, 1}
    assert asked["refuses_negative"]["drawn"] == "drawn numbers (seed 0): x 0 to 1"


def test_zeros_are_left_out_if_the_model_answers_no_number_to_them(asked: dict[str, Any]) -> None:
    assert 0 in np.array(asked["small_answers"]["corners"]["max"])
    assert 0 not in np.array(asked["no_number_for_zero"]["corners"]["max"])


def test_numbers_are_large_if_the_model_hardly_answers_to_small_ones(asked: dict[str, Any]) -> None:
    assert asked["small_answers"]["drawn"] == "drawn numbers (seed 0): x normal of deviation 128"
    assert np.std(asked["small_answers"]["corners"]["max"]) > 50
    assert asked["one_row"]["drawn"] == "drawn numbers (seed 0): x standard normal"


def test_a_model_of_a_single_row_is_asked_again_with_other_numbers(asked: dict[str, Any]) -> None:
    assert list(asked["takes_any"]["corners"]) == ["min", "opt", "max"]
    first, again = asked["one_row"]["corners"].values()
    assert first != again
    assert asked["one_row_of_samples"]["corners"] == {"min/opt/max": [[0, 1, 2, 3]], "again": [[4, 5, 6, 7]]}


def test_odd_sizes_are_asked_unless_the_model_refuses_them(asked: dict[str, Any]) -> None:
    assert list(asked["odd_sizes"]["corners"]) == ["min", "opt", "max", "odd"]
    assert np.shape(asked["odd_sizes"]["corners"]["odd"]) == (2, 21, 3)
    assert list(asked["even_sizes"]["corners"]) == ["min", "opt", "max"]
