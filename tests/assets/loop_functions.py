"""Loops and branches in each of TensorFlow's ways, and what has no fixed size, for convert_functions.py."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc"

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import layers as kl

CASES: dict[str, Any] = {}
_ROWS = {"a": {"min": [2, 3], "opt": [3, 3], "max": [5, 3]}}
_PICTURES = {"a": {"min": [1, 9, 8, 3], "opt": [2, 16, 12, 3], "max": [3, 21, 30, 3]}}
_VIDEOS = {"a": {"min": [1, 3, 8, 8, 3], "opt": [2, 4, 8, 8, 3], "max": [3, 5, 8, 8, 3]}}
_SERIES = {"a": {"min": [2, 3, 3], "opt": [2, 4, 3], "max": [2, 5, 3]}}


def unary(
    name: str,
    function: Callable[[Any], Any],
    shape: tuple[int | None, ...] = (None, 3),
    shapes: dict[str, Any] | None = _ROWS,
) -> None:
    """Register `function` of one input a; what it returns becomes the output y."""
    CASES[name] = (lambda a: {"y": function(a)}, [tf.TensorSpec(shape, tf.float32, "a")], shapes)


def videos(name: str, *stack: Any) -> None:
    """Register a .keras file of a sequence of layers over any number of pictures."""

    def save(path: Path) -> None:
        inside = keras.Input((None, 8, 8, 3), name="a")
        outside = inside
        for layer in stack:
            outside = layer(outside)
        keras.Model(inside, outside).save(path.with_suffix(".keras"))

    CASES[name] = (save, None, _VIDEOS)


def _step(total: Any, row: Any) -> Any:
    return tf.tanh(total + row)


_START = tf.zeros([3])
unary("scan", lambda a: tf.scan(_step, a))
unary("scan_from_a_start", lambda a: tf.scan(_step, a, _START))
unary("scan_backwards", lambda a: tf.scan(_step, a, _START, reverse=True))
unary("scan_backwards_without_a_start", lambda a: tf.scan(_step, a, reverse=True))
unary("scan_of_fixed_length", lambda a: tf.scan(_step, a, reverse=True), (4, 3), None)
unary(
    "scan_of_two",
    lambda a: tf.scan(lambda both, row: (_step(both[0], row), both[1] * 2), a, (_START, _START))[0],
)
unary("scan_in_a_map", lambda a: tf.map_fn(lambda row: tf.scan(_step, row), a), (2, None, 3), _SERIES)
unary("scan_of_keras", lambda a: keras.ops.scan(lambda total, row: (_step(total, row), row), _START, a)[1])
unary("fold", lambda a: tf.foldr(_step, a))
unary("vectorised", lambda a: tf.vectorized_map(lambda row: tf.cumsum(row) * 2, a))
unary(
    "resize_in_a_map",
    lambda a: tf.map_fn(lambda picture: tf.image.resize(picture, tf.shape(picture)[:2] * 2), a),
    (None, None, None, 3),
    _PICTURES,
)


def _written(a: Any, number: Any = None) -> Any:
    number = tf.shape(a)[0] if number is None else number
    rows = tf.TensorArray(tf.float32, number, element_shape=(3,))
    loop = tf.while_loop(
        lambda at, _: at < number, lambda at, rows: (at + 1, rows.write(at, a[0] * 2)), (0, rows)
    )
    return loop[1].stack()


unary("while_up_to_a_size", _written)
unary("while_data_lasts", lambda a: _written(a, tf.cast(tf.reduce_sum(tf.abs(a[0])), tf.int32) + 1))
videos(
    "steps_of_pictures",
    kl.TimeDistributed(kl.Conv2D(4, 3, activation="relu")),
    kl.TimeDistributed(kl.GlobalAveragePooling2D()),
    kl.LSTM(4),
)
videos(
    "steps_dilated",
    kl.TimeDistributed(kl.Conv2D(4, 3, dilation_rate=2, padding="same")),
    kl.TimeDistributed(kl.BatchNormalization()),
    kl.TimeDistributed(kl.Flatten()),
    kl.GRU(4),
)
unary(
    "switch",
    lambda a: tf.switch_case(
        tf.cast(tf.reduce_sum(a) > 0, tf.int32), [lambda: a * 2, lambda: a - 1, lambda: tf.exp(a)]
    ),
)
unary(
    "switch_in_a_loop",
    lambda a: tf.map_fn(
        lambda row: tf.switch_case(tf.cast(row[0] > 0, tf.int32), [lambda: row * 2, lambda: row - 1]), a
    ),
)
for _method, _antialias in (("lanczos3", False), ("bilinear", True), ("gaussian", False), ("area", False)):
    unary(
        f"any_size_by_{_method}",
        lambda a, method=_method, antialias=_antialias: tf.image.resize(
            a, (7, 9), method, antialias=antialias
        ),
        (None, None, None, 3),
        _PICTURES,
    )
