"""The accuracy gate: from comparisons to a verdict."""

from __future__ import annotations

import math

from tasks.domain.record import Comparison, Verdict, Verification


def judge(
    comparisons: tuple[Comparison, ...], *, compared: str, inputs: str, tolerance: float
) -> Verification:
    """Return the verdict on `comparisons`.

    Where TensorFlow differs from itself by more than the tolerance when its input moves by one rounding
    step, agreement means nothing and no verdict is given.
    """
    noisiest = max(comparisons, key=lambda one: _size(one.noise))
    worst = max(comparisons, key=lambda one: _size(one.relative))
    if _size(noisiest.noise) > tolerance:
        verdict = Verdict.INCONCLUSIVE
        reason = (
            f"TensorFlow's own noise on output {noisiest.output} at {noisiest.corner} is "
            f"{noisiest.noise:.2e}, above the tolerance of {tolerance:.2e}"
        )
    elif _size(worst.relative) > tolerance:
        verdict = Verdict.FAILED
        reason = (
            f"output {worst.output} at {worst.corner} is off by {worst.relative:.2e}, "
            f"above the tolerance of {tolerance:.2e}"
        )
    else:
        verdict = Verdict.PASSED
        reason = f"largest error {worst.relative:.2e} on output {worst.output} at {worst.corner}"
    return Verification(
        verdict=verdict,
        compared=compared,
        inputs=inputs,
        tolerance=tolerance,
        comparisons=comparisons,
        reason=reason,
    )


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
