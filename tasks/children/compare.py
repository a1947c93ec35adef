"""Numbers against numbers. Runs in every child, so it needs NumPy alone and Python 3.10."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]

LARGEST_ERROR = 1e9
"""Stands for "not comparable" (another shape, a NaN on one side only): JSON has no infinity."""

_SMALLEST_SCALE = 1e-12
_SCORES_RANK = 2


def relative_error(expected: npt.NDArray[Any], actual: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the largest |difference|, and the same over the largest finite |expected|.

    NaNs and infinities count as equal where both sides have the same one. Both figures are at most
    `LARGEST_ERROR`, which also stands for another shape and for a NaN on one side only. Where no value
    was compared both are 0, which says nothing: see `compared_values`.
    """
    if expected.shape != actual.shape:
        return LARGEST_ERROR, LARGEST_ERROR
    if not expected.size:
        return 0.0, 0.0
    wide, other = expected.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(wide) & np.isfinite(other)
    if not np.array_equal(wide[~finite], other[~finite], equal_nan=True):
        return LARGEST_ERROR, LARGEST_ERROR
    largest = float(np.max(np.abs(wide[finite] - other[finite]), initial=0.0))
    scale = float(np.max(np.abs(wide[finite]), initial=0.0))
    return min(largest, LARGEST_ERROR), min(largest / max(scale, _SMALLEST_SCALE), LARGEST_ERROR)


def compared_values(expected: npt.NDArray[Any], actual: npt.NDArray[Any]) -> int:
    """Return how many values `relative_error` compares: those that are finite on both sides."""
    if expected.shape != actual.shape:
        return 0
    wide, other = expected.astype(np.float64), actual.astype(np.float64)
    return int(np.count_nonzero(np.isfinite(wide) & np.isfinite(other)))


def top1_agreement(expected: npt.NDArray[Any], actual: npt.NDArray[Any]) -> float | None:
    """Return the share of rows whose largest entry is at the same place; None for other than 2-D floats."""
    scores = expected.ndim == _SCORES_RANK and expected.shape[1] > 1 and expected.dtype.kind == "f"
    if not scores or expected.shape != actual.shape:
        return None
    return float(np.mean(np.argmax(expected, axis=1) == np.argmax(actual, axis=1)))


def compare_outputs(
    corner: str, expected: Arrays, actual: Arrays, noise: dict[str, float]
) -> list[dict[str, Any]]:
    """Return one JSON-ready `tasks.domain.record.Comparison` per expected output.

    Args:
        corner: `min`, `opt` or `max`.
        expected: TensorFlow's outputs by name.
        actual: the other side's outputs by name.
        noise: TensorFlow's own relative noise by output.
    """
    rows = []
    for name, wanted in expected.items():
        values, absolute, relative, top1 = 0, LARGEST_ERROR, LARGEST_ERROR, None
        if name in actual:
            values = compared_values(wanted, actual[name])
            absolute, relative = relative_error(wanted, actual[name])
            top1 = top1_agreement(wanted, actual[name])
        rows.append(
            {
                "corner": corner,
                "output": name,
                "values": values,
                "max_abs": absolute,
                "relative": relative,
                "noise": noise[name],
                "top1": top1,
            }
        )
    return rows
