"""How fast an engine is by its record, with the interval of the measurement, and ratios of two engines.

Runs on consumers: Python 3.10, the standard library alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

LEAST_GAIN = 1.02
"""A quantised engine that is not this much as fast as its FP16 sibling is not worth its errors."""

_MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean, for normally distributed times
_P90 = 1.2816  # the 90th percentile of a normal distribution, in standard deviations
_CONFIDENCE = 1.96  # 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The median time of an inference on the GPU at the `opt` shapes, in ms, where it was measured.

    Attributes:
        shapes: shapes by input.
        ms: the median.
        low: lower end of its 95 % interval: from spread and count of the times, and from their drift.
        high: upper end.
        quiet: whether nothing else ran on the GPU; None if that is not known.
    """

    shapes: Mapping[str, tuple[int, ...]]
    ms: float
    low: float
    high: float
    quiet: bool | None

    def to_document(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {**asdict(self), "shapes": {name: list(shape) for name, shape in self.shapes.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """By which factor a time is longer than another, with its interval."""

    value: float
    low: float
    high: float

    def to_document(self) -> dict[str, float]:
        """Return it JSON-ready, rounded."""
        return {name: round(value, 4) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def speed_from_document(document: Mapping[str, Any]) -> Speed:
    """Parse what `Speed.to_document` returned.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none.
    """
    times = {name: float(document[name]) for name in ("ms", "low", "high")}
    if not 0 < times["low"] <= times["ms"] <= times["high"] < math.inf:
        raise ValueError("a time and its interval are positive and in order")
    quiet = document["quiet"]
    if quiet not in (True, False, None):
        raise TypeError("quiet is true, false or null")
    return Speed(shapes=_shapes(document["shapes"]), quiet=quiet, **times)


def measured_speed(profile: Mapping[str, Any]) -> Speed | None:
    """Return the speed in the `profile` of a record's document; None if nothing was measured.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is not a profile.
    """
    cases = [case for case in profile.get("cases") or () if "opt" in case["name"].split("/")]
    if not cases or profile["state"] != "measured":
        return None
    case, quiet = cases[0], profile.get("quiet") or {}
    times = case["gpu_ms"]
    middle, count = float(times["p50"]), max(int(case["iterations"]), 1)
    spread = max(float(times["p90"]) - middle, 0.0) / _P90
    error = _CONFIDENCE * _MEDIAN_ERROR * spread / math.sqrt(count) + abs(float(case["drift"])) / 2 * middle
    if not 0 < middle < math.inf:
        return None
    return Speed(
        shapes=_shapes(case["shapes"]),
        ms=middle,
        low=max(middle - error, middle / 2),
        high=middle + error,
        quiet=quiet.get("quiet"),
    )


def ratio(longer: Speed | None, shorter: Speed | None) -> Ratio | None:
    """Return by which factor `longer` takes longer; None if they were not measured at the same shapes.

    Figures of a GPU that others used are no measurement of either.
    """
    if longer is None or shorter is None or longer.shapes != shorter.shapes:
        return None
    if longer.quiet is False or shorter.quiet is False:
        return None
    return Ratio(value=longer.ms / shorter.ms, low=longer.low / shorter.high, high=longer.high / shorter.low)


def _shapes(document: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {str(name): tuple(int(size) for size in shape) for name, shape in document.items()}
