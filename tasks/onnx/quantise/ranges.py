"""The range of values that a quantised activation represents: all, nearly all, or the most likely ones.

Values are counted as they arrive, so memory does not grow with the number of samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.domain.request import Calibration

_BINS = 2048
_LEVELS = 128  # magnitudes that INT8 has
_STRIDE = 16  # a step of less than 1 % of the range
_SHARE = 0.9999
_SMOOTHING = 1e-4
_Counts = npt.NDArray[np.int64]


class Magnitudes:
    """How often each magnitude of a tensor occurs.

    Args:
        largest: the largest magnitude, known in advance; finite.
    """

    def __init__(self, largest: float) -> None:
        self.largest = largest
        self._counts: _Counts = np.zeros(_BINS, np.int64)

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count `values`."""
        if self.largest > 0:
            self._counts += np.histogram(np.abs(values), _BINS, (0.0, self.largest))[0]

    def range(self, calibration: Calibration) -> float:
        """Return the largest magnitude to represent; larger ones are clipped to it."""
        if calibration is Calibration.MINMAX or not self._counts.any():
            return self.largest
        choose = _percentile if calibration is Calibration.PERCENTILE else _entropy
        return choose(self._counts) * self.largest / _BINS


def largest_magnitude(values: npt.NDArray[Any]) -> float:
    """Return the largest magnitude in `values`; NaN or infinity if they contain one, 0 if they are empty."""
    if not values.size:
        return 0.0
    return float(max(values.max(), -values.min()))  # np.abs would copy


def _percentile(counts: _Counts) -> int:
    """Return how many bins contain all but one in 10,000 values."""
    cumulative = np.cumsum(counts)
    return int(np.searchsorted(cumulative, _SHARE * cumulative[-1])) + 1


def _entropy(counts: _Counts) -> int:
    """Return how many bins to keep so that 128 levels preserve most of the distribution.

    This is TensorRT's own method: the smallest Kullback-Leibler divergence between the clipped values and
    the same values in 128 levels. Zero is exact in any range, so the many zeros behind a ReLU do not count.
    Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017.
    """
    counts = counts.copy()
    counts[0] = counts[1]
    if not counts.any():
        return _BINS
    choices = range(_LEVELS, _BINS + 1, _STRIDE)
    return min(choices, key=lambda bins: (_divergence(counts, bins), -bins))


def _divergence(counts: _Counts, bins: int) -> float:
    kept = counts[:bins].astype(np.float64)
    cut = kept.copy()
    cut[-1] += counts[bins:].sum()
    starts = np.arange(_LEVELS) * bins // _LEVELS
    filled = np.add.reduceat((kept > 0).astype(np.float64), starts)
    means = np.add.reduceat(kept, starts) / np.maximum(filled, 1)
    levels = np.repeat(means, np.diff(starts, append=bins)) * (kept > 0)
    if not levels.any():
        return np.inf
    there = cut > 0
    wanted = cut[there] / cut.sum()
    # Clipped values lie in bins that were empty before: without a little mass everywhere, the divergence
    # would be infinite.
    approximation = (1 - _SMOOTHING) * levels[there] / levels.sum() + _SMOOTHING / bins
    return float(np.sum(wanted * np.log(wanted / approximation)))
