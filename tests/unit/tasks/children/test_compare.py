"""Figures of agreement, and the file that carries TensorFlow's answers."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tasks.children.compare import (
    LARGEST_ERROR,
    are_probabilities,
    compare_outputs,
    compared_values,
    relative_error,
    spreads,
    top1_agreement,
)
from tasks.children.reference import Corner, read_reference, write_reference
from tasks.domain.record import Comparison


def test_the_error_is_relative_to_the_largest_value() -> None:
    expected = np.array([[100.0, 1.0], [-200.0, 0.0]], np.float32)
    assert relative_error(expected, expected) == (0.0, 0.0)
    largest, relative = relative_error(expected, expected + np.float32(1))
    assert largest == pytest.approx(1)
    assert relative == pytest.approx(1 / 200)


def test_unsigned_and_boolean_values_do_not_wrap() -> None:
    assert relative_error(np.array([0, 2], np.uint8), np.array([2, 0], np.uint8)) == (2.0, 1.0)
    assert relative_error(np.array([True]), np.array([False])) == (1.0, 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_has_to_be_the_same(value: float) -> None:
    row = np.array([value, 1.0])
    assert relative_error(row, row.copy()) == (0.0, 0.0)
    assert relative_error(row, np.array([0.0, 1.0])) == (LARGEST_ERROR, LARGEST_ERROR)
    assert relative_error(np.array([0.0, 1.0]), row) == (LARGEST_ERROR, LARGEST_ERROR)
    assert relative_error(row, -row) == ((2.0, 2.0) if np.isnan(value) else (LARGEST_ERROR, LARGEST_ERROR))


def test_other_shapes_empty_outputs_and_outputs_of_zeros() -> None:
    assert relative_error(np.zeros((2, 1)), np.zeros((1, 2))) == (LARGEST_ERROR, LARGEST_ERROR)
    assert relative_error(np.zeros((0, 3)), np.zeros((0, 3))) == (0.0, 0.0)
    assert relative_error(np.zeros(3), np.zeros(3)) == (0.0, 0.0)
    assert relative_error(np.zeros(3), np.ones(3)) == (1.0, LARGEST_ERROR)


def test_only_values_that_are_finite_on_both_sides_count_as_compared() -> None:
    row = np.array([np.nan, np.inf, 1.0, 2.0])
    assert compared_values(row, row) == 2
    assert compared_values(row, np.array([0.0, 0.0, np.nan, 2.0])) == 1
    assert compared_values(np.full(3, np.nan), np.full(3, np.nan)) == 0
    assert compared_values(np.zeros((0, 3)), np.zeros((0, 3))) == 0
    assert compared_values(np.zeros((2, 1)), np.zeros((1, 2))) == 0
    assert compared_values(np.array([True, False]), np.array([True, True])) == 2


def test_top1_speaks_of_rows_of_scores_only() -> None:
    scores = np.array([[1, 2, 3], [3, 2, 1]], np.float32)
    assert top1_agreement(scores, scores[:, ::-1], 0.0) == (0.0, 2)
    assert top1_agreement(scores, np.array([[1, 2, 3], [1, 2, 3]], np.float32), 0.0) == (0.5, 2)
    for other in (scores[0], scores[:, :1], scores.astype(np.int32), scores[None], scores[:0]):
        assert top1_agreement(other, other, 0.0) == (None, 0)
    assert top1_agreement(scores, scores[:1], 0.0) == (None, 0)


def test_rows_whose_best_two_are_within_the_noise_do_not_count() -> None:
    expected = np.array([[10.0, 1.0, 0.0], [5.0, 4.9, 0.0], [3.0, 3.0, 0.0]], np.float32)
    swapped = expected[:, [1, 0, 2]]
    assert top1_agreement(expected, swapped, 0.0) == (0.0, 2)  # a tie never tells
    assert top1_agreement(expected, swapped, 0.004) == (0.0, 2)  # noise moves each score by up to 0.04
    assert top1_agreement(expected, swapped, 0.006) == (0.0, 1)
    assert top1_agreement(expected, swapped, 1.0) == (None, 0)


def test_scores_that_are_not_finite_do_not_tell() -> None:
    expected = np.array([[np.nan, 1.0], [np.inf, np.inf], [2.0, 1.0]], np.float32)
    assert top1_agreement(expected, expected, 1e-7) == (1.0, 1)


def test_probabilities_are_rows_that_sum_to_one() -> None:
    rows = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    assert are_probabilities(rows)
    assert are_probabilities(rows.astype(np.float16))
    for other in (rows * 2, rows - 0.5, rows[0], rows[:, :1], rows[:0], rows * np.nan, rows.astype(int)):
        assert not are_probabilities(other)


def test_an_output_that_is_missing_is_as_wrong_as_can_be() -> None:
    scores = np.array([[1, 2, 0]], np.float32)
    rows = compare_outputs("opt", {"a": scores, "b": scores}, {"a": scores}, {"a": 0.0, "b": 1e-7})
    assert [(row["output"], row["values"], row["relative"], row["noise"], row["top1"]) for row in rows] == [
        ("a", 3, 0.0, 0.0, 1.0),
        ("b", 0, LARGEST_ERROR, 1e-7, None),
    ]
    assert {row["top1_rows"] for row in rows} == {0, 1}
    assert [row["mismatch"] for row in rows] == ["", "is missing"]
    (row,) = compare_outputs("opt", {"a": scores}, {"a": scores[0]}, {"a": 0.0})
    assert row["mismatch"] == "has the shape [3], TensorFlow's has [1, 3]"
    assert {Comparison(**row).output for row in rows} == {"a", "b"}


def test_a_reference_file_is_read_back_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    corners = [
        Corner(
            name,
            {"a/b:0": rng.normal(size=(size, 3)), "ids": rng.integers(0, 9, size)},
            {"y": rng.normal(size=(size,)).astype(np.float16), "done": np.array(True)},
            {"y": 1.5e-7, "done": 0.0},
        )
        for name, size in (("min", 1), ("opt", 4), ("max", 8))
    ]
    write_reference(tmp_path / "reference.npz", corners)
    read_back = read_reference(tmp_path / "reference.npz")
    assert [corner.name for corner in read_back] == ["min", "opt", "max"]
    for wanted, read in zip(corners, read_back, strict=True):
        assert read.noise == wanted.noise
        for written, other in ((wanted.inputs, read.inputs), (wanted.outputs, read.outputs)):
            assert list(written) == list(other)
            for name, values in written.items():
                assert other[name].dtype == values.dtype
                np.testing.assert_array_equal(other[name], values)


def test_nothing_in_a_reference_file_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    write_reference(path, [Corner("opt", {"x": np.zeros(2)}, {}, {})])
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
    pickled = io.BytesIO()
    np.save(pickled, np.array([print], object))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, pickled.getvalue())
    with pytest.raises(ValueError, match="allow_pickle"):
        read_reference(path)


def test_rows_are_compared_with_each_other_at_all_corners() -> None:
    first, second = np.array([[1.0, 4.0]]), np.array([[1.0, 4.0], [1.0, np.nan], [2.0, 4.0]])
    answers = [
        {
            "rows": first,
            "same": first,
            "scalar": np.array(3),
            "picture": np.ones((1, 2, 2)),
            "none": first[:0],
        },
        {
            "rows": second,
            "same": first,
            "scalar": np.array(2),
            "picture": np.ones((1, 3, 3)),
            "none": first[:0],
        },
    ]
    assert spreads(answers) == {"rows": 0.25, "same": 0.0, "scalar": 1 / 3, "picture": None, "none": None}
