"""The accuracy gate: what passes, what does not, and where nothing can be said."""

from __future__ import annotations

import math

import pytest

from tasks.domain.gate import judge, not_measured
from tasks.domain.record import Comparison, Verdict


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
        ([row(1e-5, noise=1e-2, output="loud"), row(5.0)], Verdict.INCONCLUSIVE, "noise on output loud"),
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


def test_the_worst_comparison_is_named_and_nothing_measured_is_said() -> None:
    rows = (row(1e-5), row(3e-4, output="worst"))
    worst = judge(rows, compared="", inputs="", tolerance=1.0).worst
    assert worst == rows[1]
    nothing = not_measured(tolerance=1e-3, reason="no GPU")
    assert nothing.worst is None
    assert (nothing.verdict, nothing.reason, nothing.comparisons) == (Verdict.NOT_MEASURED, "no GPU", ())
