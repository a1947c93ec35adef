"""Child: what TensorFlow answers at each corner of the shapes, and how noisy its answers are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.children.compare import Arrays, relative_error, spreads
from tasks.children.reference import Corner
from tasks.domain.corners import corners_of, odd_corners_of
from tasks.domain.record import TensorSpec
from tasks.domain.request import Precision, Shapes
from tasks.tensorflow.answer_failures import NO_ANSWER, no_answer
from tasks.tensorflow.draws import Draws
from tasks.tensorflow.feeds import feed, flipped, is_movable, one_step_off
from tasks.tensorflow.input_names import name_among

_SMALL_SPREAD = 1e-3
"""Outputs whose rows differ by less, relative to the largest value, prove little."""
_CLEAR_GAIN = 10


@dataclass(frozen=True, slots=True)
class Answers:
    """TensorFlow's answers.

    Attributes:
        corners: by corner of the shapes; the noise is not measured yet.
        draws: how the numbers of inputs without samples were drawn.
    """

    corners: list[Corner]
    draws: Draws


def answer_corners(
    function: Any,
    inputs: tuple[TensorSpec, ...],
    profiles: Sequence[Shapes],
    samples: Arrays,
    draws: Draws,
) -> Answers:
    """Run the loaded signature `function` at each corner of `profiles`, and at odd sizes if it takes them.

    If the model refuses the drawn numbers, or returns no number, it gets milder numbers; if its outputs
    hardly differ, larger ones. If it returned a single row, it runs again with other numbers.

    Raises:
        FarmError: TensorFlow does not answer at a corner; see `no_answer`.
    """
    question = _Question(function, inputs, samples)
    corners, draws = question.at_corners(corners_of(profiles), draws)
    for name, sizes in odd_corners_of(profiles).items():
        with suppress(*NO_ANSWER):  # the model takes even sizes only
            corners.append(question.answered(name, sizes, draws))
    if None in spreads(corner.outputs for corner in corners).values():
        name, sizes = next(iter(corners_of(profiles).items()))
        with suppress(*NO_ANSWER):
            corners.append(question.answered("again", sizes, draws.again(), first=1))
    return Answers(corners, draws)


@dataclass(frozen=True, slots=True)
class _Question:
    """A signature, its inputs, and samples for some of them."""

    function: Any
    inputs: tuple[TensorSpec, ...]
    samples: Arrays

    def answered(
        self, name: str, sizes: Mapping[str, tuple[int, ...]], draws: Draws, *, first: int = 0
    ) -> Corner:
        fed = feed(self.inputs, sizes, self.samples, draws, first=first)
        return Corner(name, fed, _run(self.function, fed, name, draws.as_sizes), {})

    def at_corners(
        self, corners: Mapping[str, Mapping[str, tuple[int, ...]]], draws: Draws
    ) -> tuple[list[Corner], Draws]:
        """Return the answers at `corners`, and the draws that led to them."""

        def asked(draws: Draws) -> list[Corner]:
            return [self.answered(name, sizes, draws) for name, sizes in corners.items()]

        *bolder, mildest = draws.milder()
        for attempt in bolder:
            with suppress(*NO_ANSWER):
                answers = asked(attempt)
                if _has_numbers(answers):
                    break
        else:
            attempt, answers = mildest, asked(mildest)
        if _least_spread(answers) < _SMALL_SPREAD and self._draws_floats(attempt):
            with suppress(*NO_ANSWER):
                others = asked(attempt.larger())
                if _has_numbers(others) and _least_spread(others) > _CLEAR_GAIN * _least_spread(answers):
                    return others, attempt.larger()
        return answers, attempt

    def _draws_floats(self, draws: Draws) -> bool:
        return any(draws.are_floats(spec) for spec in self.inputs if spec.name not in self.samples)


def _has_numbers(corners: list[Corner]) -> bool:
    """Return whether each output has a finite number at each corner, unless it is empty there."""
    return all(
        not value.size or np.isfinite(value).any() for corner in corners for value in corner.outputs.values()
    )


def _least_spread(corners: list[Corner]) -> float:
    measured = [
        spread for spread in spreads(corner.outputs for corner in corners).values() if spread is not None
    ]
    return min(measured, default=math.inf)


def measure_noise(function: Any, corners: list[Corner], arithmetic: Precision) -> None:
    """Add to `corners` how far outputs move if the inputs move by one rounding step of `arithmetic`."""
    # If no input can move, the weights move instead: they are rounded, too.
    floats = any(one_step_off(corner.inputs, arithmetic) for corner in corners)
    with nullcontext() if floats else _weights_moved(function, arithmetic):
        for corner in corners:
            moved = _run(function, one_step_off(corner.inputs, arithmetic) or corner.inputs, corner.name)
            for name, value in corner.outputs.items():
                corner.noise[name] = relative_error(value, moved[name])[1]


def with_graph_names(corners: list[Corner], renamed: Mapping[str, str]) -> list[Corner]:
    """Return `corners` with the graph's names of outputs; `renamed` has those that differ."""
    names = {original: name for name, original in renamed.items()}

    def under_names(values: Mapping[str, Any]) -> dict[str, Any]:
        return {names.get(name, name): value for name, value in values.items()}

    return [
        Corner(corner.name, corner.inputs, under_names(corner.outputs), under_names(corner.noise))
        for corner in corners
    ]


@contextmanager
def _weights_moved(function: Any, arithmetic: Precision) -> Iterator[None]:
    """Move every weight of `function` by one rounding step, and back afterwards."""
    floats = [variable for variable in function.variables if is_movable(variable.dtype.name, arithmetic)]
    for variable in floats:
        variable.assign(flipped(variable.numpy(), arithmetic))
    yield
    for variable in floats:  # an error before ends the process
        variable.assign(flipped(variable.numpy(), arithmetic))


def _run(function: Any, fed: Arrays, corner: str, as_sizes: frozenset[str] = frozenset()) -> Arrays:
    try:
        names = function.structured_input_signature[1]
        answers = function(**{name_among(names, name): tf.constant(value) for name, value in fed.items()})
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise MemoryError(str(error)) from error
    except (tf.errors.OpError, ValueError) as error:
        sizes = ", ".join(f"{name} {value.shape}" for name, value in fed.items())
        raise no_answer(type(error).__name__, str(error), corner, sizes, as_sizes) from error
    return {name: value.numpy() for name, value in answers.items()}
