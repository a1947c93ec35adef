"""The accuracy gate: what passes, what does not, and where nothing can be said."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import pytest

from tasks.domain.errors import VerificationFailed, VerificationInconclusive
from tasks.domain.gate import NOISE_FACTOR, Top1, judge, not_measured, require_pass, wanted_top1
from tasks.domain.record import Comparison, Verdict
from tasks.domain.request import Precision


def row(relative: float, noise: float = 1e-7, output: str = "y", values: int = 3) -> Comparison:
    return Comparison(
        corner="max", output=output, values=values, max_abs=1.0, relative=relative, noise=noise, top1=None
    )


@pytest.mark.parametrize(
    ("rows", "verdict", "says"),
    [
        ([row(1e-5), row(2e-4)], Verdict.PASSED, "2.00e-04 on output y at max"),
        ([row(1e-3)], Verdict.PASSED, "1.00e-03"),
        (
            [row(1e-5), row(2e-3, output="bad"), row(1e-4)],
            Verdict.FAILED,
            "output bad at max is off by 2.00e-03",
        ),
        # What is loud says nothing; what is off beyond all rounding still fails.
        ([row(1e-5, noise=1e-2, output="loud"), row(1e-5)], Verdict.INCONCLUSIVE, "noise on output loud"),
        ([row(1e-5, noise=1e-2, output="loud"), row(5.0)], Verdict.FAILED, "output y at max is off by"),
        ([row(0.5, noise=2e-3)], Verdict.FAILED, "noise there is 2.00e-03"),
        ([row(1e-2, noise=2e-3)], Verdict.INCONCLUSIVE, "noise on output y"),
        # Just above the tolerance: a failure where TensorFlow is exact, unknown where it is about as far off.
        ([row(1.1e-3, noise=1e-7)], Verdict.FAILED, "above the tolerance"),
        ([row(1.1e-3, noise=5e-4)], Verdict.INCONCLUSIVE, "rounding alone may cause 10 times"),
        ([row(NOISE_FACTOR * 2e-4, noise=2e-4)], Verdict.INCONCLUSIVE, "noise there is 2.00e-04"),
        ([row(NOISE_FACTOR * 2.1e-4, noise=2e-4)], Verdict.FAILED, "above the tolerance"),
        # Within the tolerance: passes up to a noise of the tolerance itself.
        ([row(9e-4, noise=9e-4)], Verdict.PASSED, "9.00e-04"),
        ([row(9e-4, noise=1.1e-3)], Verdict.INCONCLUSIVE, "noise on output y"),
        ([row(1e-5), row(math.nan, output="bad")], Verdict.FAILED, "output bad"),
        ([row(math.nan, output="bad"), row(1e-5)], Verdict.FAILED, "output bad"),
        ([row(1e-5, noise=math.nan), row(1e-5)], Verdict.INCONCLUSIVE, "noise on output y"),
        ([row(math.inf)], Verdict.FAILED, "inf"),
        ([row(0.0, values=0), row(0.0, values=0)], Verdict.INCONCLUSIVE, "on output y at any corner"),
        (
            [row(1e-5), row(0.0, output="void", values=0)],
            Verdict.INCONCLUSIVE,
            "on output void at any corner",
        ),
        ([row(0.0, output="void", values=0)], Verdict.INCONCLUSIVE, "give `samples`"),
        ([row(0.0, values=0), row(2e-4, values=1)], Verdict.PASSED, "2.00e-04 on output y"),
        ([row(1e9, output="lost", values=0), row(1e-5)], Verdict.FAILED, "output lost"),
        (
            [row(2e9), replace(row(1e9), mismatch="has the shape [2]")],
            Verdict.FAILED,
            "y at max has the shape [2]",
        ),
        (
            [replace(row(1e9), max_abs=1e9)],
            Verdict.FAILED,
            "has NaN or infinity where TensorFlow has a number",
        ),
        ([], Verdict.INCONCLUSIVE, "no output"),
        ([row(2e-3, output="a\nPASSED")], Verdict.FAILED, "output a\\nPASSED at max"),
    ],
)
def test_the_gate(rows: list[Comparison], verdict: Verdict, says: str) -> None:
    verification = judge(tuple(rows), compared="a with b", inputs="drawn", tolerance=1e-3)
    assert verification.verdict is verdict
    assert says in verification.reason
    assert (verification.compared, verification.inputs, verification.tolerance) == ("a with b", "drawn", 1e-3)
    assert verification.comparisons == tuple(rows)


def test_an_output_that_hardly_varies_passes_and_is_named() -> None:
    rows = (replace(row(0.0, output="flat"), spread=9e-4), replace(row(1e-5), spread=2.0), row(0.0))
    verification = judge(rows, compared="", inputs="", tolerance=1e-3)
    assert verification.verdict is Verdict.PASSED
    assert "output flat hardly varies on these inputs" in verification.reason
    assert verification.steady == ("flat",)
    assert "varies" not in judge(rows[1:], compared="", inputs="", tolerance=1e-3).reason


def test_the_worst_comparison_is_named_and_nothing_measured_is_said() -> None:
    rows = (row(1e-5), row(3e-4, output="worst"))
    worst = judge(rows, compared="", inputs="", tolerance=1.0).worst
    assert worst == rows[1]
    nothing = not_measured(tolerance=1e-3, reason="no GPU")
    assert nothing.worst is None
    assert (nothing.verdict, nothing.reason, nothing.comparisons) == (Verdict.NOT_MEASURED, "no GPU", ())


def scores(share: float | None, rows: int, *, output: str = "y", probabilities: bool = True) -> Comparison:
    return Comparison(
        corner="opt", output=output, values=9, max_abs=0.0, relative=1e-5, noise=1e-7,
        top1=share, top1_rows=rows, probabilities=probabilities,
    )  # fmt: skip


ASKED, DEFAULT = Top1(least=0.9, asked=True), Top1(least=0.9, asked=False)


@pytest.mark.parametrize(
    ("rows", "top1", "verdict", "says"),
    [
        ([scores(0.5, 2), scores(1.0, 18)], ASKED, Verdict.PASSED, "19 of 20 rows of output y"),
        ([scores(0.9, 10)], ASKED, Verdict.PASSED, "9 of 10 rows"),
        ([scores(0.5, 2), scores(0.875, 8)], ASKED, Verdict.FAILED, "8 of 10 rows of output y"),
        ([scores(0.0, 1)], ASKED, Verdict.FAILED, "below the share of 0.9"),
        ([scores(1.0, 4), scores(0.5, 4, output="z")], ASKED, Verdict.FAILED, "2 of 4 rows of output z"),
        # A corner in which no row tells counts for nothing; none that tells at all leaves a question open.
        ([scores(None, 0), scores(1.0, 3)], ASKED, Verdict.PASSED, "3 of 3 rows"),
        ([scores(None, 0)], ASKED, Verdict.INCONCLUSIVE, "no output has rows of scores"),
        ([scores(None, 0)], DEFAULT, Verdict.PASSED, "largest error"),
        # By default only what is a distribution is a classifier.
        ([scores(0.5, 4)], DEFAULT, Verdict.FAILED, "2 of 4 rows"),
        ([scores(0.5, 4, probabilities=False)], DEFAULT, Verdict.PASSED, "largest error"),
        ([scores(0.5, 4, probabilities=False)], ASKED, Verdict.FAILED, "2 of 4 rows"),
        ([scores(0.0, 4)], None, Verdict.PASSED, "largest error"),
    ],
)
def test_the_best_class_must_be_tensorflows(
    rows: list[Comparison], top1: Top1 | None, verdict: Verdict, says: str
) -> None:
    verification = judge(tuple(rows), compared="", inputs="", tolerance=1e-3, top1=top1)
    assert verification.verdict is verdict
    assert says in verification.reason
    assert verification.top1 == (None if top1 is None else top1.least)


def test_an_error_is_told_before_other_classes_and_those_before_doubts() -> None:
    wrong, other, loud = row(1.0), scores(0.0, 3), row(0.0, noise=1.0, output="loud")
    both = judge((other, wrong, loud), compared="", inputs="", tolerance=1e-3, top1=ASKED)
    assert "is off by" in both.reason
    classes = judge((other, loud), compared="", inputs="", tolerance=1e-3, top1=ASKED)
    assert (classes.verdict, "0 of 3 rows" in classes.reason) == (Verdict.FAILED, True)


def test_what_is_asked_goes_before_the_default_which_needs_samples() -> None:
    assert wanted_top1(Precision.INT8, 0.98, samples=False) == Top1(least=0.98, asked=True)
    assert wanted_top1(Precision.FP32, 1.0, samples=True) == Top1(least=1.0, asked=True)
    assert wanted_top1(Precision.INT8, None, samples=True) == Top1(least=0.9, asked=False)
    assert wanted_top1(Precision.INT8, None, samples=False) is None
    assert wanted_top1(Precision.FP16, None, samples=True) is None


def test_what_is_refused_carries_what_was_measured_also_to_another_process() -> None:
    failed = judge((row(1.0),), compared="", inputs="", tolerance=1e-3)
    doubtful = judge((row(1e-5, noise=1.0),), compared="", inputs="", tolerance=1e-3)
    for verification, kind in ((failed, VerificationFailed), (doubtful, VerificationInconclusive)):
        with pytest.raises(kind) as caught:
            require_pass(verification, "the graph")
        assert verification.reason in caught.value.found
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (our own)
        assert (type(again), str(again), again.verification) == (kind, str(caught.value), verification)
    fine = judge((row(1e-5),), compared="", inputs="", tolerance=1e-3)
    assert require_pass(fine, "the graph") is fine
    nothing = not_measured(tolerance=1e-3, reason="no GPU")
    assert require_pass(nothing, "the engine") is nothing
