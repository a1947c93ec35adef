"""What a record says about an INT8 or FP8 graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.domain.request import Calibration

ENOUGH_ROWS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantisation:
    """How a graph was quantised to INT8 or FP8, and how much of it.

    Attributes:
        calibration: how the ranges were chosen.
        rows: number of rows of the release's samples that they were measured on.
        quantised: operations that compute in the low precision.
        quantisable: operations of a type that could.
        work: share of the multiply-adds of `quantisable` that `quantised` computes: one large layer may count
            more than thirty small ones.
        errors: relative error against the FP32 graph, by each calibration that was tried, with the operations
            that it keeps; measured on other rows if there are enough.
        tool: the library and its version.
        warning: why its accuracy may be worse on other inputs; empty if nothing suggests it.
    """

    calibration: Calibration
    rows: int
    quantised: int
    quantisable: int
    work: float
    errors: Mapping[Calibration, float]
    tool: str
    warning: str = ""


def warning_of(rows: int) -> str:
    """Return the doubt about ranges that were measured on a sample file of `rows` rows."""
    if rows >= ENOUGH_ROWS:
        return ""
    return f"few samples: {rows} rows; give {ENOUGH_ROWS} or more, of all kinds that the engine will get"
