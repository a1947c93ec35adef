"""Models that TensorRT takes once their graph is right: each becomes an engine that matches TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.rounding import beyond_rounding

COMPARED = ("dropout_in_lstm", "dropout_both_ways")
"""Whose graphs have nothing that the same models have not without what is tried here."""
pytestmark = pytest.mark.slow
BUILT = (
    "calls_are_counted", "split_heads", "cast_over_integers", "softmax_of_a_row", "step_in_a_loop",
    "step_in_a_loop_that_writes", "loop_backwards", "loop_by_two_until_it_is_large", "windows_in_a_loop",
    "row_from_the_end", "grouped_and_dilated", "bytes", "bytes_wrap", "pictures_of_16_bits",
    "resize_to_sizes_that_scales_miss", "quantised_to_int8",
    "transposed_by_more_than_its_kernel", "transposed_with_output_padding", "transposed_in_3d",
    "padded_to_its_ratio", "condition_on_fixed_sizes", "condition_on_the_batch", "cache_update",
)  # fmt: skip
NO_ENGINE = {
    "bytes_in_a_loop": "cast it to float32 before the loop",
    "ragged_mean": "keep every row and use tf.where(mask, x, 0)",
    "size_as_an_input": "input size, whose values are sizes or offsets in node PartitionedCall/strided_slice",
    "branches_of_unequal_shapes": "let both branches of a condition (tf.cond) return tensors of equal shapes",
}
REFUSED = {
    "calls_count": ("AssignAddVariableOp", "take the old one as an input"),
    "calls_count_in_a_loop": ("AssignAddVariableOp (layer map/while", "take the old one as an input"),
    "pictures_of_32_bits": ("input a of uint32", "int64 or int32"),
    "quantised_to_float8": ("of type float8_e4m3fn", "as it was before it was quantised"),
}


@pytest.fixture(scope="module")
def answers(convert_functions: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What became of every case, by name."""
    return convert_functions("right_graph_functions.py")


def test_every_case_is_here(answers: dict[str, Any]) -> None:
    assert {*answers} == {*COMPARED, *BUILT, *NO_ENGINE, *REFUSED}


@pytest.mark.parametrize("name", [*COMPARED, *BUILT, *NO_ENGINE])
def test_the_graph_computes_what_tensorflow_computes(answers: dict[str, Any], name: str) -> None:
    assert "error" not in answers[name]
    corners = [corner for row in answers[name]["comparisons"] for corner in row["corner"].split("/")]
    assert {"min", "opt", "max"} <= set(corners)
    assert all(row["values"] for row in answers[name]["comparisons"])
    assert beyond_rounding(answers[name]["comparisons"]) == []


@pytest.mark.parametrize("name", BUILT)
def test_it_becomes_an_engine(answers: dict[str, Any], name: str) -> None:
    assert answers[name]["engine"] == "built"


@pytest.mark.parametrize("name", NO_ENGINE)
def test_what_tensorrt_refuses_has_a_way_out(answers: dict[str, Any], name: str) -> None:
    assert NO_ENGINE[name] in answers[name]["engine"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_an_engine_is_refused_with_the_way_out(answers: dict[str, Any], name: str) -> None:
    operation, fix = REFUSED[name]
    assert operation in answers[name]["error"]["found"]
    assert fix in answers[name]["error"]["fix"]


@pytest.mark.long
def test_every_recurrent_layer_with_dropout_computes_what_tensorflow_computes(
    convert_functions: Callable[..., dict[str, Any]],
) -> None:
    answers = convert_functions("dropout_functions.py")
    assert len(answers) >= 18
    assert {name: answer["error"] for name, answer in answers.items() if "error" in answer} == {}
    wrong = {name: beyond_rounding(answer["comparisons"]) for name, answer in answers.items()}
    assert {name: rows for name, rows in wrong.items() if rows} == {}
