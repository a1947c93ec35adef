"""Percentiles by nearest rank, and drift."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.domain.statistics import drift, median, percentile, summary

TIMES = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=200)


@given(TIMES, st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], percent: int
) -> None:
    limit = percentile(values, percent)
    assert limit in values
    assert sum(value <= limit for value in values) * 100 >= percent * len(values)
    below = [value for value in values if value < limit]
    assert len(below) * 100 < percent * len(values)


@pytest.mark.parametrize(
    ("count", "percent", "wanted"),
    [
        (1, 50, 1),
        (1, 99, 1),
        (2, 50, 1),
        (3, 50, 2),
        (50, 90, 45),
        (50, 99, 50),
        (100, 99, 99),
        (200, 99, 198),
    ],
)
def test_percentiles_of_the_numbers_from_one(count: int, percent: int, wanted: int) -> None:
    values = [float(number) for number in range(count, 0, -1)]
    assert percentile(values, percent) == wanted


def test_without_values_there_is_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@given(TIMES)
def test_a_summary_is_in_order(values: list[float]) -> None:
    times = summary(values)
    assert list(times) == ["min", "mean", "p50", "p90", "p99"]
    assert times["min"] <= times["p50"] <= times["p90"] <= times["p99"] <= max(values)
    assert times["min"] * (1 - 1e-9) <= times["mean"] <= max(values) * (1 + 1e-9)
    assert times["p50"] == median(values)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1.0, 1.0], 0.0),
        ([0.0, 1.0, 2.0], 0.0),
        ([2.0, 9.0, 3.0], 0.5),
        ([1.0] * 10 + [5.0] * 10 + [1.1] * 10, 0.1),
        ([4.0] * 30, 0.0),
        ([4.0, 4.0, 99.0, 1.0, 2.0, 3.0, 2.0, 2.0, 0.1], -0.5),
    ],
)
def test_drift_is_from_the_first_third_to_the_last(values: list[float], wanted: float) -> None:
    assert drift(values) == pytest.approx(wanted)
