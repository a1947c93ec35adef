"""Ranges of values: all, nearly all, or the likeliest, counted batch by batch."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.domain.request import Calibration
from tasks.onnx.quantise.ranges import Magnitudes, largest_magnitude

NORMAL = np.random.default_rng(2).normal(size=200_000).astype(np.float32)
WITH_OUTLIER = np.append(NORMAL, np.float32(80))


def range_of(values: np.ndarray, calibration: Calibration, batches: int = 1) -> float:
    magnitudes = Magnitudes(largest_magnitude(values))
    for part in np.array_split(values, batches):
        magnitudes.add(part)
    return magnitudes.range(calibration)


def test_minmax_keeps_every_value() -> None:
    assert range_of(WITH_OUTLIER, Calibration.MINMAX) == 80
    assert largest_magnitude(-WITH_OUTLIER) == 80


def test_percentile_cuts_one_value_in_ten_thousand() -> None:
    limit = range_of(WITH_OUTLIER, Calibration.PERCENTILE)
    assert 1e-5 < np.mean(np.abs(WITH_OUTLIER) > limit) <= 1e-4


def test_entropy_gives_up_an_outlier_for_the_many() -> None:
    assert 3 < range_of(WITH_OUTLIER, Calibration.ENTROPY) < 12
    assert range_of(np.append(np.maximum(NORMAL, 0), 0), Calibration.ENTROPY) > 2.5  # zeros say nothing
    uniform = np.linspace(0, 1, 50_000, dtype=np.float32)
    assert range_of(uniform, Calibration.ENTROPY) > 0.9


@pytest.mark.parametrize("calibration", [Calibration.ENTROPY, Calibration.PERCENTILE])
def test_batches_give_what_all_at_once_gives(calibration: Calibration) -> None:
    assert range_of(WITH_OUTLIER, calibration, batches=7) == range_of(WITH_OUTLIER, calibration)


@pytest.mark.parametrize("calibration", list(Calibration)[1:])
@pytest.mark.parametrize("values", [np.zeros(5, np.float32), np.zeros(0, np.float32)])
def test_nothing_but_zeros(calibration: Calibration, values: np.ndarray) -> None:
    assert range_of(values, calibration) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_shows(bad: float) -> None:
    assert not np.isfinite(largest_magnitude(np.array([1, bad], np.float32)))
