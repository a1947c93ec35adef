"""The accuracy gate: from comparisons to a verdict."""

from __future__ import annotations

from tasks.domain.record import Comparison, Verdict, Verification


def judge(
    comparisons: tuple[Comparison, ...], *, compared: str, inputs: str, tolerance: float
) -> Verification:
    """Return the verdict on `comparisons`.

    Where TensorFlow differs from itself by more than the tolerance when its input moves by one rounding
    step, agreement means nothing and no verdict is given.
    """
    noisiest = max(comparisons, key=lambda one: one.noise)
    worst = max(comparisons, key=lambda one: one.relative)
    if noisiest.noise > tolerance:
        verdict = Verdict.INCONCLUSIVE
        reason = (
            f"TensorFlow's own noise on output {noisiest.output} at {noisiest.corner} is "
            f"{noisiest.noise:.2e}, above the tolerance of {tolerance:.2e}"
        )
    elif worst.relative > tolerance:
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
