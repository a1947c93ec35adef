"""Child: what TensorFlow answers at each corner of the shapes, and how noisy its answers are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tasks.children.compare import Arrays, relative_error
from tasks.children.reference import Corner
from tasks.domain.errors import RequestInvalid
from tasks.domain.record import TensorSpec
from tasks.domain.request import ShapeRange
from tasks.tensorflow.feeds import feed, one_step_off

_CORNERS = ("min", "opt", "max")


def answer_corners(
    function: Any,
    inputs: tuple[TensorSpec, ...],
    shapes: Mapping[str, ShapeRange],
    samples: Arrays,
    vocabularies: Mapping[str, int],
) -> list[Corner]:
    """Run the loaded signature `function` at min, opt and max.

    Raises:
        RequestInvalid: TensorFlow refuses a corner; the error names it.
    """
    corners = []
    for name in _CORNERS:
        sizes = {key: shape.corners[name] for key, shape in shapes.items()}
        fed = feed(inputs, sizes, samples, vocabularies)
        outputs = _run(function, fed, name)
        corners.append(Corner(name, fed, outputs, _noise(function, fed, outputs, name)))
    return corners


def _run(function: Any, fed: Arrays, corner: str) -> Arrays:
    try:
        answers = function(**{name: tf.constant(value) for name, value in fed.items()})
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise MemoryError(str(error)) from error
    except (tf.errors.OpError, ValueError) as error:
        sizes = ", ".join(f"{name} {value.shape}" for name, value in fed.items())
        raise RequestInvalid(
            wanted=f"an answer of the model at the corner {corner}: {sizes}",
            found=f"{type(error).__name__}: {str(error)[:500]}",
            fix=f"give shapes in inputs.*.{corner} of build.yaml that the model accepts, "
            "and samples where values matter",
        ) from error
    return {name: value.numpy() for name, value in answers.items()}


def _noise(function: Any, fed: Arrays, outputs: Arrays, corner: str) -> dict[str, float]:
    moved = one_step_off(fed)
    if moved is None:
        return dict.fromkeys(outputs, 0.0)
    again = _run(function, moved, corner)
    return {name: relative_error(value, again[name])[1] for name, value in outputs.items()}
