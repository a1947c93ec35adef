"""Crops and suppression convert in each of their ways; what TensorRT-RTX lacks is said with the way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.rounding import beyond_rounding

pytestmark = pytest.mark.slow

CONVERTED = {
    "plain": {"kept"},
    "scored": {"kept", "rest"},
    "padded": {"kept", "count"},
    "combined": {"boxes_out", "scores_out", "classes", "count"},
    "combined_by_class": {"boxes_out", "scores_out", "classes", "count"},
    "combined_padded": {"boxes_out", "scores_out", "classes", "count"},
}
CROPS = ("crop_bilinear", "crop_nearest", "crop_one_line", "crop_to_any_size")
ONE_OPERATION = sorted(CONVERTED.keys() - {"padded"})


@pytest.fixture(scope="module")
def detection(convert_functions: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """What became of every case, by name."""
    return convert_functions("detection_functions.py")


def test_every_case_is_here(detection: dict[str, Any]) -> None:
    assert set(detection) == CONVERTED.keys() | {"soft", *CROPS}


@pytest.mark.parametrize("name", CONVERTED)
def test_it_keeps_what_tensorflow_keeps(detection: dict[str, Any], name: str) -> None:
    assert "error" not in detection[name]
    rows = detection[name]["comparisons"]
    assert {row["output"] for row in rows} == CONVERTED[name]
    assert {"min", "opt", "max"} <= {row["corner"] for row in rows}
    assert beyond_rounding(rows) == []


@pytest.mark.parametrize("name", ONE_OPERATION)
def test_rtx_parses_all_of_it_and_lacks_the_operation_alone(detection: dict[str, Any], name: str) -> None:
    said = detection[name]["engine"]
    assert "NonMaxSuppression__" in said
    assert "has no runners" in said
    assert "targets of TensorRT itself (module tensorrt)" in said


def test_padded_suppression_builds_without_that_operation(detection: dict[str, Any]) -> None:
    assert detection["padded"]["engine"] == "built"


def test_soft_suppression_is_refused_with_its_layer(detection: dict[str, Any]) -> None:
    error = detection["soft"]["error"]
    assert error["class"] == "OperationUnsupported"
    assert "NonMaxSuppressionV5 (layer non_max_suppression_with_scores" in error["found"]
    assert "soft_nms_sigma=0" in error["fix"]


@pytest.mark.parametrize("name", CROPS)
def test_crops_keep_the_numbers_and_build(detection: dict[str, Any], name: str) -> None:
    assert "error" not in detection[name]
    assert beyond_rounding(detection[name]["comparisons"]) == []
    assert detection[name]["engine"] == "built"
