"""How far two programs' numbers may be apart by rounding alone, by the noise that is measured beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tasks.children.compare import Arrays, compare_outputs, relative_error
from tasks.domain.gate import NOISE_FACTOR
from tasks.domain.request import Precision
from tasks.tensorflow.feeds import one_step_off

_STEP = 2.0**-23
"""One rounding step of FP32. A model whose noise is less still rounds its answers."""


def beyond_rounding(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the comparisons, as text, whose error rounding in FP32 does not explain.

    The bound of each is `NOISE_FACTOR` times the noise of TensorFlow itself that was measured beside it, on
    the same inputs: the product's own gate uses the same factor.
    """
    return [
        f"{row['output']} at {row['corner']}: error {row['relative']:.2e}, noise {row['noise']:.2e}"
        for row in rows
        if not row["relative"] <= NOISE_FACTOR * max(row["noise"], _STEP)
    ]


def noise_of(compute: Callable[[Arrays], Arrays], inputs: Arrays) -> dict[str, float]:
    """Return how far each output of `compute` moves when its inputs move by one rounding step of FP32.

    Integers do not move. The product measures the noise of TensorFlow in the same way.
    """
    outputs, again = compute(inputs), compute(one_step_off(inputs, Precision.FP32) or inputs)
    return {name: relative_error(value, again[name])[1] for name, value in outputs.items()}


def assert_equal_but_for_rounding(
    actual: Arrays, compute: Callable[[Arrays], Arrays], inputs: Arrays, where: str = "these inputs"
) -> None:
    """Hold `actual` against what `compute` returns for `inputs`, by the noise of that."""
    rows = compare_outputs(where, compute(inputs), actual, noise_of(compute, inputs))
    assert beyond_rounding(rows) == []
