"""The accuracy gate: from comparisons to a verdict.

The error of an output is its largest |difference| to TensorFlow over TensorFlow's largest |value|. Two
figures judge it. The tolerance is what the precision may cost. The noise is how much TensorFlow's result
changes when its input moves by one rounding step of the model's own arithmetic (its weights, if no input is a
float). No graph can be blamed for that much: a graph that adds in another order rounds differently in every
layer, and the sum is some multiple of the noise. So an output

- **fails** if its error is above the tolerance and above `NOISE_FACTOR` times its noise: rounding does not
  explain it, however noisy another output is;
- **cannot be judged** if its noise alone is above the tolerance (agreement is luck then), or if its error is
  above the tolerance and within `NOISE_FACTOR` times its noise (rounding may explain it);
- **passes** if its error is within the tolerance. The noise never raises that limit.

A top-1 share counts the rows of all corners together, but only rows with a clear best class: TensorFlow's two
best scores must be further apart than its noise can move them. Too few equal best classes are a failure,
however small the error.

An output may hardly vary over the inputs, by less than the tolerance: for example the scores of an untrained
classifier. An engine with a constant output would then pass, so the reason mentions it.

If an output fails, the verdict is that; else, if an output cannot be judged, the verdict is that. An output
without a finite value at any corner cannot be judged: that it does not differ means nothing.
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
"""The relative difference that counts if one side has no numbers."""

_OTHER_NUMBERS = (
    "ask for a higher precision, or change `tolerances` or `top1` in build.yaml if this difference is "
    "acceptable"
)
_OTHER_SHAPE = (
    "give shapes in build.yaml for which the model's sizes fit; if they do, the graph is not the model's: "
    "please report it with the model's structure"
)

NOISE_FACTOR = 10.0
"""How many times TensorFlow's own noise rounding alone may cause.

Correctly converted graphs stayed within twice their noise, including recurrent and 121-layer models. The
table of the zoo has both figures for each model. Ten leaves room for models that nobody has measured.
"""

DEFAULT_TOP1: Mapping[Precision, float] = MappingProxyType(
    # Well quantised classifiers keep the best class in 95 of 100 rows or more. A classifier that changes
    # every tenth decision is a different classifier.
    {Precision.INT8: 0.9, Precision.FP8: 0.9}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Top1:
    """The smallest share of rows whose best class must be TensorFlow's.

    Attributes:
        least: the smallest accepted share.
        asked: whether the request sets it: then some output must have scores. The farm's own default
            judges probabilities only; the largest entry of any other vector may mean nothing.
    """

    least: float
    asked: bool


def wanted_top1(precision: Precision, asked: float | None, *, samples: bool) -> Top1 | None:
    """Return the top-1 share for `precision`; None if best classes do not count.

    Args:
        precision: of the graph or engine.
        asked: the share in the request.
        samples: whether the inputs are the release's own. On random numbers the classes of a model mean
            nothing, so there is no default then.
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
    """Return the verdict on `comparisons`; the module's docstring has the rule."""
    verdict, reason = _verdict(comparisons, tolerance, top1)
    name = _reference(compared)
    return Verification(
        verdict=verdict,
        compared=compared,
        inputs=inputs,
        tolerance=tolerance,
        top1=None if top1 is None else top1.least,
        comparisons=comparisons,
        reason=reason.replace("TensorFlow's", f"{name}'s").replace(
            "where TensorFlow has", f"where {name} has"
        ),
    )


def _reference(compared: str) -> str:
    """Return what gave the reference: onnxruntime, for a model that is ONNX itself, or TensorFlow."""
    return "onnxruntime" if " against onnxruntime " in compared else "TensorFlow"


def require_pass(verification: Verification, what: str) -> Verification:
    """Return `verification` if it passed or was not measured; `what` names the compared thing.

    Raises:
        VerificationFailed: that is the verdict; the error carries the verification.
        VerificationInconclusive: likewise.
    """
    error: GateError
    if verification.verdict is Verdict.FAILED:
        error = VerificationFailed(
            wanted=f"{what} to compute what {_reference(verification.compared)} computes",
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
    """Return a sentence if outputs hardly vary: their agreement says little."""
    steady = steady_outputs(comparisons, tolerance)
    if not steady:
        return []
    names = ", ".join(printable_name(output) for output in steady)
    text = f"output {names} hardly varies on these inputs, by less than the tolerance: agreement says little"
    return [f"{text}; give `samples` for which its outputs differ"]


def _wrong(comparisons: tuple[Comparison, ...], tolerance: float) -> str | None:
    """Return which output is off by more than the tolerance and more than rounding explains."""
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
        return f"{_location(worst)} has NaN or infinity where TensorFlow has a number, or vice versa"
    return (
        f"{_location(worst)} is off by {worst.relative:.2e}, above the tolerance of {tolerance:.2e}; "
        f"TensorFlow's own noise there is {worst.noise:.2e}"
    )


def _doubt(comparisons: tuple[Comparison, ...], tolerance: float) -> str | None:
    """Return why neither agreement nor difference means anything; None if they do."""
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
            f"TensorFlow's own noise there is {worst.noise:.2e}: rounding alone may cause "
            f"{NOISE_FACTOR:.0f} times as much"
        )
    empty = _never_compared(comparisons)
    if empty:
        return (
            f"no finite value to compare on output {', '.join(empty)} at any corner: it is empty, or all NaN "
            "or infinite; give `samples` in build.yaml for which the model computes finite numbers"
        )
    return None


def _other_classes(comparisons: tuple[Comparison, ...], top1: Top1 | None) -> str | None:
    """Return which output has too few rows with TensorFlow's best class."""
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
    """Return for each output that `top1` judges how many rows of all corners agree and how many are clear."""
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
    """Return the outputs without a compared value. At a single corner an output may be empty."""
    values: dict[str, int] = {}
    for comparison in comparisons:
        values[comparison.output] = values.get(comparison.output, 0) + comparison.values
    return [printable_name(output) for output, count in values.items() if not count]


def _location(comparison: Comparison) -> str:
    return f"output {printable_name(comparison.output)} at {comparison.corner}"


def _size(figure: float) -> float:
    """Return `figure`; infinity if it is NaN, which must never pass."""
    return math.inf if math.isnan(figure) else figure


def not_measured(*, tolerance: float, reason: str) -> Verification:
    """Return a verification that says why nothing was compared."""
    return Verification(
        verdict=Verdict.NOT_MEASURED,
        compared="",
        inputs="",
        tolerance=tolerance,
        comparisons=(),
        reason=reason,
    )
