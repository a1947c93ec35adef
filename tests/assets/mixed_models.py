"""Models that compute in FP16 or BF16 themselves, for convert_functions.py: each under both policies."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,untyped-decorator,no-untyped-call"

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

CASES: dict[str, Any] = {}
_SEQUENCES = {"a": {"min": [1, 3, 4], "opt": [4, 7, 4], "max": [8, 12, 4]}}
_TYPES = {"float16": tf.float16, "bfloat16": tf.bfloat16}


def _picture(policy: str) -> Any:
    inside = keras.Input((10, 10, 3), name="a")
    x = keras.layers.Conv2D(8, 3, activation="relu", dtype=policy)(inside)
    x = keras.layers.BatchNormalization(dtype=policy)(x)
    x = keras.layers.MaxPooling2D(dtype=policy)(x)
    x = keras.layers.GlobalAveragePooling2D(dtype=policy)(x)
    x = keras.layers.Dense(8, dtype=policy)(x)
    return keras.Model(inside, keras.layers.Dense(4, "softmax", dtype="float32", name="y")(x))


def _attention(policy: str) -> Any:
    inside = keras.Input((None, 4), name="a")
    seen = keras.layers.MultiHeadAttention(2, 3, dtype=policy)(inside, inside, use_causal_mask=True)
    x = keras.layers.LayerNormalization(dtype=policy)(seen + inside)
    return keras.Model(inside, keras.layers.Dense(3, dtype="float32", name="y")(x))


def _recurrent(policy: str) -> Any:
    inside = keras.Input((None, 4), name="a")
    x = keras.layers.LSTM(5, return_sequences=True, dtype=policy)(inside)
    return keras.Model(inside, keras.layers.Dense(3, dtype="float32", name="y")(x))


def _tokens(policy: str) -> Any:
    """No input is a float: the noise is that of the weights."""
    inside = keras.Input((6,), dtype="int32", name="a")
    x = keras.layers.Flatten(dtype=policy)(keras.layers.Embedding(9, 4, dtype=policy)(inside))
    x = keras.layers.Dense(5, dtype=policy)(x)
    return keras.Model(inside, keras.layers.Dense(3, dtype="float32", name="y")(x))


def _saved(make: Callable[[str], Any], policy: str, path: Path) -> None:
    make(policy).save(path.with_suffix(".keras"))


def _loop(kind: Any) -> Callable[[Any], dict[str, Any]]:
    """Weights of the low type themselves, in the body of a loop and in a branch."""
    weights = tf.constant(np.random.default_rng(1).normal(size=(4, 4)) / 2, kind)

    def serve(a: Any) -> dict[str, Any]:
        def step(index: Any, state: Any) -> Any:
            return index + 1, tf.nn.tanh(state @ weights) + state

        low = tf.cast(a, kind)
        count = tf.shape(a)[0]
        _, looped = tf.while_loop(lambda index, _: index < count, step, (0, low))
        chosen = tf.cond(count > 2, lambda: looped + weights[0], lambda: looped)
        return {"y": tf.cast(chosen, tf.float32)}

    return serve


for _name, _kind in _TYPES.items():
    for _model, _make, _shapes in (
        ("picture", _picture, None),
        ("attention", _attention, _SEQUENCES),
        ("lstm", _recurrent, _SEQUENCES),
        ("tokens", _tokens, None),
    ):
        CASES[f"{_model}_{_name}"] = (partial(_saved, _make, f"mixed_{_name}"), None, _shapes)
    CASES[f"loop_{_name}"] = (_loop(_kind), [tf.TensorSpec((None, 4), tf.float32, "a")], None)

_halves = tf.constant(np.random.default_rng(1).normal(size=(4, 3)), tf.float16)
CASES["only_data"] = (  # FP16 is read, and nothing is rounded to it
    lambda a: {"y": tf.cast(a, tf.float32) @ tf.cast(_halves, tf.float32)},
    [tf.TensorSpec((None, 4), tf.float16, "a")],
    None,
)
CASES["border"] = (
    lambda a: {"y": tf.nn.relu(a @ _halves), "same": a},
    [tf.TensorSpec((None, 4), tf.float16, "a")],
    None,
)
