"""Advice of refusals: it is about the model at hand, and the model that follows it becomes an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.rounding import beyond_rounding

SIZES = {
    "reshape": "Reshape", "fill": "Fill", "resize": "Resize", "tile": "Tile", "pad": "Pad",
    "cut": "strided_slice", "count": "range", "roll": "Roll",
}  # fmt: skip
"""Models with an input whose values are sizes, and a part of the name of the node that takes the size."""
REFUSED = {
    "reshape_by_values": ("input size, whose values are sizes; InvalidArgumentError", "make size a constant"),
    "fourier": ("fft_length", "give fft_length"),
    "inverse": ("MatrixInverse", "3 by 3"),
    "determinant": ("MatrixDeterminant", "3 by 3"),
    "counted": ("DenseBincount", "tf.reduce_sum(tf.one_hot(...))"),
    "segments": ("SegmentSum", "use tf.math.unsorted_segment_sum"),
    "added_exponents": ("CumulativeLogsumexp", "an axis of fixed size"),
    "error_function": ("Erfinv (layer erfinv", "replace Erfinv by other operations"),
}
NO_ENGINE = {
    "unique": "compute unique values outside the engine",
    "multiplied": "give what loops and branches compute on a fixed size",
    "nested_conditions": "choose by tf.where",
    "masked": "keep every row and use tf.where(mask, x, 0)",
}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def advised(convert_functions: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What became of every case, by name."""
    return convert_functions("advice_functions.py")


def followed(answers: dict[str, Any]) -> list[str]:
    return [name for name in answers if name.endswith("_followed")]


def test_every_case_is_here(advised: dict[str, Any]) -> None:
    refused = {*SIZES, *REFUSED, *NO_ENGINE}
    assert {*advised} == refused | {*followed(advised)}
    assert {name.removesuffix("_followed") for name in followed(advised)} <= refused


@pytest.mark.parametrize("name", SIZES)
def test_an_input_whose_values_are_sizes_is_refused_by_its_name_and_the_layer(
    advised: dict[str, Any], name: str
) -> None:
    text = advised[name]["engine"]
    assert "found input size, whose values are sizes or offsets in " in text
    assert SIZES[name] in text.partition("sizes or offsets in ")[2].partition(". To fix")[0]
    assert "make size a constant of the model, or let the model read the size from the shape" in text


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_refused_with_advice_about_it(advised: dict[str, Any], name: str) -> None:
    message, fix = REFUSED[name]
    assert message in advised[name]["error"]["found"]
    assert fix in advised[name]["error"]["fix"]


@pytest.mark.parametrize("name", NO_ENGINE)
def test_what_tensorrt_refuses_has_advice_about_it(advised: dict[str, Any], name: str) -> None:
    assert NO_ENGINE[name] in advised[name]["engine"]


def test_models_that_follow_the_advice_become_engines(advised: dict[str, Any]) -> None:
    answers = {name: advised[name] for name in followed(advised)}
    assert {name: answer["error"] for name, answer in answers.items() if "error" in answer} == {}
    assert {name: answer["engine"] for name, answer in answers.items() if answer["engine"] != "built"} == {}
    assert [name for name in answers if beyond_rounding(answers[name]["comparisons"])] == []
