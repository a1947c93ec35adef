"""Loops that write rows, in each of TensorFlow's ways; and what cannot be an engine, with the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from tests.support.rounding import beyond_rounding

BUILT = (
    "scan", "scan_from_a_start", "scan_backwards", "scan_backwards_without_a_start", "scan_of_fixed_length",
    "scan_of_two", "scan_in_a_map", "fold", "vectorised", "resize_in_a_map", "steps_of_pictures",
    "steps_dilated", "switch", "while_up_to_a_size",
)  # fmt: skip
pytestmark = pytest.mark.slow
NO_ENGINE = {"while_data_lasts": "maximum_iterations"}
REFUSED = {
    "scan_of_keras": ("scan output index", "keras.ops.scan does not"),
    "switch_in_a_loop": ("infer the attribute type", "choose by tf.where"),
    "any_size_by_lanczos3": ("ScaleAndTranslate (layer resize", "give the image a fixed size"),
    "any_size_by_bilinear": ("ScaleAndTranslate (layer resize", "antialias=False"),
    "any_size_by_gaussian": ("ScaleAndTranslate (layer resize", "method='bilinear'"),
    "any_size_by_area": ("ResizeArea (layer resize", "give the image a fixed size"),
}


@pytest.fixture(scope="module")
def loops(convert_functions: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What became of every case, by name."""
    return convert_functions("loop_functions.py")


def test_every_case_is_here(loops: dict[str, Any]) -> None:
    assert {*loops} == {*BUILT, *NO_ENGINE, *REFUSED}


@pytest.mark.parametrize("name", [*BUILT, *NO_ENGINE])
def test_a_loop_keeps_the_numbers_and_their_order(loops: dict[str, Any], name: str) -> None:
    assert "error" not in loops[name]
    corners = [corner for row in loops[name]["comparisons"] for corner in row["corner"].split("/")]
    assert {"min", "opt", "max"} <= set(corners)
    assert beyond_rounding(loops[name]["comparisons"]) == []


@pytest.mark.parametrize("name", BUILT)
def test_a_loop_becomes_an_engine(loops: dict[str, Any], name: str) -> None:
    assert loops[name]["engine"] == "built"


@pytest.mark.parametrize("name", NO_ENGINE)
def test_what_tensorrt_refuses_has_a_way_out(loops: dict[str, Any], name: str) -> None:
    assert NO_ENGINE[name] in loops[name]["engine"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_onnx_form_is_refused_with_the_way_out(loops: dict[str, Any], name: str) -> None:
    message, fix = REFUSED[name]
    error = loops[name]["error"]
    assert error["class"] == "OperationUnsupported"
    assert message in error["found"]
    assert fix in error["fix"]


def test_the_trip_limit_is_how_often_the_loop_turns(loops: dict[str, Any]) -> None:
    """TensorRT 8.6 returns a row for each turn that the limit allows. Four: the first and three turns."""
    graph = onnx.load(Path(loops["scan_of_fixed_length"]["graph"]).with_name("fp32.onnx")).graph
    (limit,) = [node.input[0] for node in graph.node if node.op_type == "Loop"]
    (turns,) = [numpy_helper.to_array(value) for value in graph.initializer if value.name == limit]
    assert int(turns) == 3
