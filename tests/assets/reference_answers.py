"""What small functions were asked for their reference: inputs by corner, and which numbers were drawn.

Usage: reference_answers.py FILE. The cases stand in `_CASES`: a function of x, its type, sizes at the three
three corners, and samples if there are some.
"""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.domain.record import TensorSpec
from tasks.domain.request import ShapeRange
from tasks.tensorflow.draws import Draws
from tasks.tensorflow.feeds import describe
from tasks.tensorflow.reference_child import answer_corners

_ROWS = ((1, 4), (8, 4), (32, 4))
_ONE = ((1, 4), (1, 4), (1, 4))
_PICTURES = ((1, 8, 3), (2, 20, 3), (4, 30, 3))
_TABLE = tf.constant([2.0, 3.0])
_CASES: dict[str, Any] = {
    "takes_any": (lambda x: x % 3, "int32", _ROWS, None),
    "refuses_negative": (lambda x: tf.gather(_TABLE, x) * tf.cast(x, tf.float32), "int64", _ROWS, None),
    "no_number_for_zero": (lambda x: tf.reduce_sum(1 / x), "float32", _ROWS, None),
    "small_answers": (lambda x: tf.nn.softmax(x / 1e5), "float32", _ROWS, None),
    "one_row": (lambda x: x * 2, "float32", _ONE, None),
    "one_row_of_samples": (
        lambda x: x * 2, "float32", _ONE, np.arange(8, dtype=np.float32).reshape(2, 4)
    ),
    "odd_sizes": (lambda x: x[:, ::2], "float32", _PICTURES, None),
    "even_sizes": (lambda x: tf.stack(tf.split(x, 2, axis=1)), "float32", _PICTURES, None),
}  # fmt: skip


def _answered(function: Any, dtype: str, corners: Any, sample: Any) -> dict[str, Any]:
    specs = (TensorSpec(name="x", dtype=dtype, shape=(None,) * len(corners[0])),)
    traced = tf.function(
        lambda x: {"y": function(x)},
        input_signature=[tf.TensorSpec(specs[0].shape, dtype, "x")],
        autograph=False,
    )
    samples = {} if sample is None else {"x": sample}
    profile = {"x": ShapeRange(min=corners[0], opt=corners[1], max=corners[2])}
    draws = Draws()
    answers = answer_corners(traced.get_concrete_function(), specs, [profile], samples, draws)
    return {
        "corners": {corner.name: corner.inputs["x"].tolist() for corner in answers.corners},
        "drawn": describe(specs, samples, answers.draws),
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps({name: _answered(*case) for name, case in _CASES.items()}))
