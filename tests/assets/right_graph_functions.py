"""Models that TensorRT takes once their graph is right, and some refused ones, for convert_functions.py."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers as kl

CASES: dict[str, Any] = {}
COMPARED_ONLY = {"dropout_in_lstm", "dropout_both_ways"}
_SERIES = {"a": {"min": [1, 3, 4], "opt": [2, 5, 4], "max": [3, 9, 4]}}


def one(
    name: str,
    function: Callable[[Any], Any],
    shape: tuple[int | None, ...] = (None, 3),
    shapes: dict[str, Any] | None = None,
    dtype: Any = tf.float32,
    holds: Any = None,
) -> None:
    """Register `function` of one input a; what it returns becomes the output y."""

    def serve(a: Any) -> dict[str, Any]:
        return {"y": function(a)}

    serve.holds = holds  # type: ignore[attr-defined]
    CASES[name] = (serve, [tf.TensorSpec(shape, dtype, "a")], shapes)


def layers(
    name: str,
    shape: tuple[int | None, ...],
    *stack: Any,
    suffix: str = ".keras",
    shapes: Any = None,
    dtype: str = "float32",
) -> None:
    """Register a sequence of layers over the input a; without a suffix it is exported as a SavedModel."""

    def save(path: Path) -> None:
        inside = keras.Input(shape, name="a", dtype=dtype)
        outside = inside
        for layer in stack:
            outside = layer(outside)
        whole = keras.Model(inside, outside)
        if suffix:
            whole.save(path.with_suffix(suffix))
        else:
            whole.export(str(path), verbose=False)

    CASES[name] = (save, None, shapes)


def weights(*shape: int) -> Any:
    return tf.constant(np.random.default_rng(shape).standard_normal(shape).astype(np.float32) / 2)


# State that no output reads is none.
layers("dropout_in_lstm", (None, 4), kl.LSTM(3, dropout=0.3, recurrent_dropout=0.2), shapes=_SERIES)
layers("dropout_both_ways", (5, 4), kl.Bidirectional(kl.GRU(3, recurrent_dropout=0.2)), suffix="")
_calls = tf.Variable(1.0, name="calls")


def _counting(a: Any) -> Any:
    _calls.assign_add(1.0)
    return a * 2


def _counted(a: Any) -> Any:
    _calls.assign_add(1.0)
    return a * _calls


one("calls_are_counted", _counting, holds=_calls)
one("calls_count", _counted, holds=_calls)
one("calls_count_in_a_loop", lambda a: tf.map_fn(_counted, a), (4, 3), holds=_calls)

# Reshapes of what was reshaped.
_square = weights(12, 12)


def _heads(a: Any) -> Any:
    product = tf.tensordot(a, _square, 1)
    size = tf.shape(product)
    heads = tf.transpose(tf.reshape(product, [size[0], size[1], 3, 4]), [0, 2, 1, 3])
    joined = tf.transpose(heads, [0, 2, 1, 3])
    size = tf.shape(joined)
    return tf.reshape(joined, [size[0], size[1], 12]) * 2.0


_TOKENS = {"a": {"min": [1, 3, 12], "opt": [2, 5, 12], "max": [3, 7, 12]}}
one("split_heads", _heads, (None, None, 12), _TOKENS)
one("cast_over_integers", lambda a: tf.cast(tf.cast(tf.cast(a * 2, tf.int32), tf.bool), tf.float32))
