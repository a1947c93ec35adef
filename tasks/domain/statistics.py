"""Statistics of measured times. Runs inside toolchains: Python 3.10.

Percentiles are by nearest rank: the smallest measured value with at least that many per cent of all values at
or below it. So each is a measured value, and p99 of fewer than 100 values is their largest.
"""

from __future__ import annotations

from collections.abc import Sequence

PERCENTILES = (50, 90, 99)
_THIRDS = 3


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value at `percent`, 1 to 100, by nearest rank.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[-(-percent * len(values) // 100) - 1]


def median(values: Sequence[float]) -> float:
    """Return the value in the middle; of an even number of values, the smaller of the two."""
    return percentile(values, 50)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return `min`, `mean`, and the percentiles as `p50`, `p90` and `p99`, in the values' own unit."""
    percentiles = {f"p{percent}": percentile(values, percent) for percent in PERCENTILES}
    return {"min": min(values), "mean": sum(values) / len(values), **percentiles}


def drift(values: Sequence[float]) -> float:
    """Return by which share the median of the last third differs from that of the first.

    0.05 means 5 % larger; 0 if there are fewer than three values, or the first third is zero.
    """
    third = len(values) // _THIRDS
    if not third:
        return 0.0
    first, last = median(values[:third]), median(values[-third:])
    return last / first - 1 if first else 0.0
