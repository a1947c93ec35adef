"""The accuracy gate: from comparisons to a verdict.

An output is off by its largest |difference| to TensorFlow over TensorFlow's largest |value|. Two figures
judge that error. The tolerance says what the precision may cost. The noise says how far TensorFlow is from
itself when its input (its weights, where no input is a float) moves by one rounding step of the model's own
arithmetic, and so what no graph can be blamed for: a graph that adds in another order rounds anew in every
layer, which comes to some multiple of the noise. So an output

- **fails** where its error is above the tolerance and above `NOISE_FACTOR` times its noise: rounding does
  not explain it, however loud another output is;
- **cannot be judged** where its noise alone is above the tolerance (agreement is luck then), or where its
  error is above the tolerance and within `NOISE_FACTOR` times its noise (rounding may explain it);
- **passes** where its error is within the tolerance. The noise never widens what passes.

Where scores of classes are held to a top-1 share, the rows of all corners count together, but only those that
tell: TensorFlow's own two best scores must be further apart than its noise can move them. Too few equal best
classes are a failure of their own, however small the error.

An output may hardly vary on the inputs, by less than the tolerance, as an untrained classifier's scores do.
What always answered the same would pass then, so the reason says it.

One output that fails makes the verdict; else one that cannot be judged does. An output that had no finite
value at any corner cannot be judged: that nothing differs says nothing then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tasks.domain.errors import GateError, VerificationFailed, VerificationInconclusive
from tasks.domain.printable import printable_name
from tasks.domain.record import Comparison, Verdict, Verification, steady_outputs
from tasks.domain.request import Precision

_NOT_COMPARABLE = 1e9
"""How far apart numbers count as if on one side there is none."""

_OTHER_NUMBERS = (
    "ask for a higher precision, or change `tolerances` or `top1` in build.yaml if this difference is "
    "acceptable"
)
_OTHER_SHAPE = (
    "give shapes in build.yaml for which the model's sizes fit; if they do, the graph is not the model's: "
    "please report it with the model's structure"
)

NOISE_FACTOR = 10.0
"""How many times TensorFlow's own noise rounding alone may come to.

Graphs that convert right were seen within twice their noise, recurrent and 121 layers deep ones among them;
the table of the zoo has both figures for each model. Ten leaves room for those that nobody has seen yet.
"""

DEFAULT_TOP1: Mapping[Precision, float] = MappingProxyType(
    # Quantised classifiers keep the best class in 95 of 100 rows or more where the quantisation is good; a
    # classifier that changes every tenth decision is another classifier.
    {Precision.INT8: 0.9, Precision.FP8: 0.9}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Top1:
    """The share of rows whose best class must be TensorFlow's.

    Attributes:
        least: the smallest accepted share.
        asked: whether the request names it: then there must be scores to hold it against. The farm's own
            default judges probabilities only; the largest entry of any other vector may mean nothing.
    """

    least: float
    asked: bool


def wanted_top1(precision: Precision, asked: float | None, *, samples: bool) -> Top1 | None:
    """Return what `precision` is held to; None where best classes do not count.

    Args:
        precision: of the graph or engine.
        asked: what the request says.
        samples: whether the inputs are the release's own. On drawn numbers the classes of a model mean
            nothing, and nothing is asked by default.
    """
    if asked is not None:
        return Top1(least=asked, asked=True)
    least = DEFAULT_TOP1.get(precision) if samples else None
    return None if least is None else Top1(least=least, asked=False)


def judge(
    comparisons: tuple[Comparison, ...],
    *,
    compared: str,
    inputs: str,
    tolerance: float,
    top1: Top1 | None = None,
) -> Verification:
    """Return the verdict on `comparisons`; the module says by which rule."""
    verdict, reason = _verdict(comparisons, tolerance, top1)
    return Verification(
        verdict=verdict,
        compared=compared,
        inputs=inputs,
        tolerance=tolerance,
        top1=None if top1 is None else top1.least,
        comparisons=comparisons,
        reason=reason,
    )


def require_pass(verification: Verification, what: str) -> Verification:
    """Return `verification` where it passed, or was not measured; `what` was compared, for people.

    Raises:
        VerificationFailed: the verdict is that; the error carries the verification.
        VerificationInconclusive: the same.
    """
    error: GateError
    if verification.verdict is Verdict.FAILED:
        error = VerificationFailed(
            wanted=f"{what} to compute what TensorFlow computes",
            found=verification.reason,
            fix=_OTHER_SHAPE if any(row.mismatch for row in verification.comparisons) else _OTHER_NUMBERS,
        )
    elif verification.verdict is Verdict.INCONCLUSIVE:
        error = VerificationInconclusive(
            wanted=f"a verdict on {what}",
            found=verification.reason,
            fix="give real samples (`samples`), or raise `tolerances` above the noise if that is acceptable",
        )
    else:
        return verification
    error.verification = verification
    raise error


def _verdict(comparisons: tuple[Comparison, ...], tolerance: float, top1: Top1 | None) -> tuple[Verdict, str]:
    failure = _wrong(comparisons, tolerance) or _other_classes(comparisons, top1)
    if failure:
        return Verdict.FAILED, failure
    doubt = _doubt(comparisons, tolerance) or _no_classes(comparisons, top1)
    if doubt:
        return Verdict.INCONCLUSIVE, doubt
    worst = max(comparisons, key=lambda comparison: comparison.relative)
    reason = f"largest error {worst.relative:.2e} on {_location(worst)}"
    shares = _shares(comparisons, top1)
    texts = [reason, *(_share_text(*share) for share in shares.items()), *_steadiness(comparisons, tolerance)]
    return Verdict.PASSED, "; ".join(texts)


def _steadiness(comparisons: tuple[Comparison, ...], tolerance: float) -> list[str]:
    """Return which outputs hardly vary: that they agree says little."""
    steady = steady_outputs(comparisons, tolerance)
    if not steady:
        return []
    names = ", ".join(printable_name(output) for output in steady)
    text = f"output {names} hardly varies on these inputs, by less than the tolerance: agreement says little"
    return [f"{text}; give `samples` to which the model answers differently"]


def _wrong(comparisons: tuple[Comparison, ...], tolerance: float) -> str | None:
    """Return what is off by more than the tolerance and more than rounding explains."""
    wrong = [
        comparison
        for comparison in comparisons
        if _size(comparison.relative) > max(tolerance, NOISE_FACTOR * _size(comparison.noise))
    ]
    if not wrong:
        return None
    worst = max(wrong, key=lambda comparison: (bool(comparison.mismatch), _size(comparison.relative)))
    if worst.mismatch:
        return f"{_location(worst)} {worst.mismatch}"
    if min(worst.relative, worst.max_abs) >= _NOT_COMPARABLE:
        return f"{_location(worst)} has NaN or infinity where TensorFlow has a number, or the other way round"
    return (
        f"{_location(worst)} is off by {worst.relative:.2e}, above the tolerance of {tolerance:.2e}; "
        f"TensorFlow's own noise there is {worst.noise:.2e}"
    )


def _doubt(comparisons: tuple[Comparison, ...], tolerance: float) -> str | None:
    """Return why agreement or difference means nothing, where it does not."""
    if not comparisons:
        return "there is no output to compare"
    noisiest = max(comparisons, key=lambda comparison: _size(comparison.noise))
    worst = max(comparisons, key=lambda comparison: _size(comparison.relative))
    if _size(noisiest.noise) > tolerance:
        return (
            f"TensorFlow's own noise on {_location(noisiest)} is "
            f"{noisiest.noise:.2e}, above the tolerance of {tolerance:.2e}"
        )
    if _size(worst.relative) > tolerance:
        return (
            f"{_location(worst)} is off by {worst.relative:.2e}, above the tolerance of {tolerance:.2e}, but "
            f"TensorFlow's own noise there is {worst.noise:.2e}: rounding alone may come to "
            f"{NOISE_FACTOR:.0f} times that"
        )
    empty = _never_compared(comparisons)
    if empty:
        return (
            f"no finite value to compare on output {', '.join(empty)} at any corner: it is empty, or all NaN "
            "or infinite; give `samples` in build.yaml on which the model computes numbers"
        )
    return None


def _other_classes(comparisons: tuple[Comparison, ...], top1: Top1 | None) -> str | None:
    """Return which output has too few rows with TensorFlow's own best class."""
    shares = _shares(comparisons, top1)
    few = [output for output, (equal, rows) in shares.items() if top1 and equal < top1.least * rows]
    if top1 is None or not few:
        return None
    worst = min(few, key=lambda output: shares[output][0] / shares[output][1])
    return f"{_share_text(worst, shares[worst])}, below the share of {top1.least:g}"


def _no_classes(comparisons: tuple[Comparison, ...], top1: Top1 | None) -> str | None:
    if top1 is None or not top1.asked or _shares(comparisons, top1):
        return None
    return (
        "a top-1 share is asked for, and no output has rows of scores whose best class is clear: "
        "remove `top1` from build.yaml, or give `samples` on which the model decides"
    )


def _shares(comparisons: tuple[Comparison, ...], top1: Top1 | None) -> dict[str, tuple[float, int]]:
    """Return, for each output that `top1` judges, how many rows agree and how many tell, of all corners."""
    shares: dict[str, tuple[float, int]] = {}
    for comparison in comparisons:
        judged = top1 is not None and comparison.top1 is not None and (top1.asked or comparison.probabilities)
        if judged and comparison.top1 is not None and comparison.top1_rows:
            equal, rows = shares.get(comparison.output, (0.0, 0))
            shares[comparison.output] = (
                equal + round(comparison.top1 * comparison.top1_rows),
                rows + comparison.top1_rows,
            )
    return shares


def _share_text(output: str, share: tuple[float, int]) -> str:
    equal, rows = share
    return f"the best class of {equal:.0f} of {rows} rows of output {printable_name(output)} is TensorFlow's"


def _never_compared(comparisons: tuple[Comparison, ...]) -> list[str]:
    """Return the outputs of which no value was compared. At one corner an output may well be empty."""
    values: dict[str, int] = {}
    for comparison in comparisons:
        values[comparison.output] = values.get(comparison.output, 0) + comparison.values
    return [printable_name(output) for output, count in values.items() if not count]


def _location(comparison: Comparison) -> str:
    return f"output {printable_name(comparison.output)} at {comparison.corner}"


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
