"""The accuracy gate: from comparisons to a verdict."""

from __future__ import annotations

import math

from tasks.domain.printable import printable_name
from tasks.domain.record import Comparison, Verdict, Verification


def judge(
    comparisons: tuple[Comparison, ...], *, compared: str, inputs: str, tolerance: float
) -> Verification:
    """Return the verdict on `comparisons`.

    Where TensorFlow differs from itself by more than the tolerance when its input moves by one rounding
    step, agreement means nothing and no verdict is given. Nor is one where an output had no finite value
    at any corner: that nothing differs says nothing then.
    """
    verdict, reason = _verdict(comparisons, tolerance)
    return Verification(
        verdict=verdict,
        compared=compared,
        inputs=inputs,
        tolerance=tolerance,
        comparisons=comparisons,
        reason=reason,
    )


def _verdict(comparisons: tuple[Comparison, ...], tolerance: float) -> tuple[Verdict, str]:
    if not comparisons:
        return Verdict.INCONCLUSIVE, "there is no output to compare"
    noisiest = max(comparisons, key=lambda one: _size(one.noise))
    worst = max(comparisons, key=lambda one: _size(one.relative))
    empty = _never_compared(comparisons)
    if _size(noisiest.noise) > tolerance:
        return Verdict.INCONCLUSIVE, (
            f"TensorFlow's own noise on {_place(noisiest)} is "
            f"{noisiest.noise:.2e}, above the tolerance of {tolerance:.2e}"
        )
    if _size(worst.relative) > tolerance:
        return Verdict.FAILED, (
            f"{_place(worst)} is off by {worst.relative:.2e}, above the tolerance of {tolerance:.2e}"
        )
    if empty:
        return Verdict.INCONCLUSIVE, (
            f"no finite value to compare on output {', '.join(empty)} at any corner: it is empty, or all NaN "
            "or infinite; give `samples` in build.yaml on which the model computes numbers"
        )
    return Verdict.PASSED, f"largest error {worst.relative:.2e} on {_place(worst)}"


def _never_compared(comparisons: tuple[Comparison, ...]) -> list[str]:
    """Return the outputs of which no value was compared. At one corner an output may well be empty."""
    values: dict[str, int] = {}
    for one in comparisons:
        values[one.output] = values.get(one.output, 0) + one.values
    return [printable_name(output) for output, count in values.items() if not count]


def _place(one: Comparison) -> str:
    return f"output {printable_name(one.output)} at {one.corner}"


def _size(figure: float) -> float:
    """Return `figure`; what is no number is larger than all: it must never pass."""
    return math.inf if math.isnan(figure) else figure


def not_measured(*, tolerance: float, reason: str) -> Verification:
    """Return the statement that nothing was compared, with its reason."""
    return Verification(
        verdict=Verdict.NOT_MEASURED,
        compared="",
        inputs="",
        tolerance=tolerance,
        comparisons=(),
        reason=reason,
    )
