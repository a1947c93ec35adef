"""Compares numbers. Runs in every child, so it needs only NumPy and Python 3.10."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = dict[str, npt.NDArray[Any]]

LARGEST_ERROR = 1e9
"""Means "not comparable" (another shape, a NaN on one side only): JSON has no infinity."""

_SMALLEST_SCALE = 1e-12
_SCORES_RANK = 2
_PROBABILITY_SLACK = 1e-2  # the sum of a thousand classes in FP16 is no more accurate


def relative_error(expected: npt.NDArray[Any], actual: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the largest |difference|, and the same over the largest finite |expected|.

    NaNs and infinities are equal if both sides have the same one. Both figures are at most `LARGEST_ERROR`,
    which also means another shape or a NaN on one side only. If no value was compared, both are 0, which
    means nothing: see `compared_values`.
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


def top1_agreement(
    expected: npt.NDArray[Any], actual: npt.NDArray[Any], noise: float
) -> tuple[float | None, int]:
    """Return the share of rows with their largest entry at the same place, and the number of these rows.

    A row counts if its two largest expected entries are further apart than `noise`, relative to the largest
    |expected|, can move them. The share is None if no row counts, and for anything but 2-D floats with at
    least two columns.
    """
    if not _are_scores(expected) or expected.shape != actual.shape or not expected.size:
        return None, 0
    wide = expected.astype(np.float64)
    scale = float(np.max(np.abs(wide[np.isfinite(wide)]), initial=0.0))
    second, best = np.partition(wide, -2, axis=1)[:, -2:].T
    with np.errstate(invalid="ignore"):  # two infinities have no distance, so the row does not count
        tells = best - second > 2 * noise * scale
    if not tells.any():
        return None, 0
    same = np.argmax(wide, axis=1) == np.argmax(actual, axis=1)
    return float(np.mean(same[tells])), int(np.count_nonzero(tells))


def are_probabilities(expected: npt.NDArray[Any]) -> bool:
    """Return whether the rows of `expected` are distributions: no entry below 0, their sum 1."""
    if not _are_scores(expected) or not expected.size:
        return False
    wide = expected.astype(np.float64)
    return bool((wide >= 0).all() and (np.abs(wide.sum(axis=1) - 1) < _PROBABILITY_SLACK).all())


def _are_scores(expected: npt.NDArray[Any]) -> bool:
    return expected.ndim == _SCORES_RANK and expected.shape[1] > 1 and expected.dtype.kind == "f"


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
    return [
        {"corner": corner, "output": name, "noise": noise[name], "probabilities": are_probabilities(wanted)}
        | _figures(wanted, actual.get(name), noise[name])
        for name, wanted in expected.items()
    ]


def with_spreads(rows: list[dict[str, Any]], answers: Iterable[Arrays]) -> list[dict[str, Any]]:
    """Return `rows` with the spread of each output: how far its rows differ, over its largest |value|.

    Args:
        rows: comparisons at all corners.
        answers: TensorFlow's outputs by name, at each corner.
    """
    spread = spreads(answers)
    return [row | {"spread": spread[row["output"]]} for row in rows]


def spreads(answers: Iterable[Arrays]) -> dict[str, float | None]:
    """Return for each output how far its rows differ, over its largest |value|; None for a single row."""
    values: dict[str, list[npt.NDArray[Any]]] = {}
    for outputs in answers:
        for name, value in outputs.items():
            values.setdefault(name, []).append(value)
    return {name: _spread(arrays) for name, arrays in values.items()}


def _spread(arrays: list[npt.NDArray[Any]]) -> float | None:
    first: dict[tuple[int, ...], npt.NDArray[Any]] = {}
    rows, largest, scale = 0, 0.0, 0.0
    for array in arrays:
        wide = array.astype(np.float64)
        wide = wide if wide.ndim else wide[None]
        if not len(wide):
            continue
        base = first.setdefault(wide.shape[1:], wide[0])
        with np.errstate(invalid="ignore"):
            apart = np.abs(wide - base)
        rows += len(wide)
        largest = max(largest, float(np.max(apart[np.isfinite(apart)], initial=0.0)))
        scale = max(scale, float(np.max(np.abs(wide[np.isfinite(wide)]), initial=0.0)))
    return min(largest / max(scale, _SMALLEST_SCALE), LARGEST_ERROR) if rows > len(first) else None


def _mismatch(expected: npt.NDArray[Any], actual: npt.NDArray[Any] | None) -> str:
    """Return why numbers cannot be compared, to follow the output's name; empty if they can."""
    if actual is None:
        return "is missing"
    if expected.shape != actual.shape:
        return f"has the shape {list(actual.shape)}, TensorFlow's has {list(expected.shape)}"
    return ""


def _figures(expected: npt.NDArray[Any], actual: npt.NDArray[Any] | None, noise: float) -> dict[str, Any]:
    mismatch = _mismatch(expected, actual)
    if actual is None:
        return {
            "values": 0,
            "max_abs": LARGEST_ERROR,
            "relative": LARGEST_ERROR,
            "top1": None,
            "top1_rows": 0,
            "mismatch": mismatch,
        }
    absolute, relative = relative_error(expected, actual)
    top1, rows = top1_agreement(expected, actual, noise)
    values = compared_values(expected, actual)
    return {
        "values": values,
        "max_abs": absolute,
        "relative": relative,
        "top1": top1,
        "top1_rows": rows,
        "mismatch": mismatch,
    }
