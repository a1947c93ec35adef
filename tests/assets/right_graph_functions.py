"""Models that TensorRT takes once their graph is right, and others that are refused."""

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

from tests.support.keras_layers import saves_layers

CASES: dict[str, Any] = {}
COMPARED_ONLY = {"dropout_in_lstm", "dropout_both_ways"}
_SERIES = {"a": {"min": [1, 3, 4], "opt": [2, 5, 4], "max": [3, 9, 4]}}


def unary(
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
    CASES[name] = (saves_layers(shape, stack, suffix=suffix, dtype=dtype), None, shapes)


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


unary("calls_are_counted", _counting, holds=_calls)
unary("calls_count", _counted, holds=_calls)
unary("calls_count_in_a_loop", lambda a: tf.map_fn(_counted, a), (4, 3), holds=_calls)

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
unary("split_heads", _heads, (None, None, 12), _TOKENS)
unary("cast_over_integers", lambda a: tf.cast(tf.cast(tf.cast(a * 2, tf.int32), tf.bool), tf.float32))

# Softmax of one row, and an index that a loop counts.
unary("softmax_of_a_row", lambda a: tf.map_fn(lambda row: tf.nn.softmax(row) + tf.nn.log_softmax(row), a))
_PAIRS = weights(4, 4)


def _recurrence(a: Any) -> Any:
    state = tf.zeros_like(a[:, 0, :])
    for at in tf.range(tf.shape(a)[1]):
        state = tf.tanh(state @ _PAIRS + a[:, at, :])
    return state


def _recurrence_that_writes(a: Any) -> Any:
    state, states = tf.zeros_like(a[:, 0, :]), tf.TensorArray(tf.float32, tf.shape(a)[1])
    for at in tf.range(tf.shape(a)[1]):
        state = tf.tanh(state @ _PAIRS + a[:, at, :])
        states = states.write(at, state)
    return tf.transpose(states.stack(), [1, 0, 2])


def _while(go: Any, turn: Any, *start: Any) -> Any:
    return tf.while_loop(go, turn, start)[1]


_ROWS = {"a": {"min": [2, 3], "opt": [3, 3], "max": [5, 3]}}
_any = (None, None, 4)
unary("step_in_a_loop", tf.autograph.to_graph(_recurrence), _any, _SERIES)
unary("step_in_a_loop_that_writes", tf.autograph.to_graph(_recurrence_that_writes), _any, _SERIES)
unary(
    "loop_backwards",
    lambda a: _while(
        lambda at, _: at > 0, lambda at, sum_: (at - 1, tf.tanh(sum_ * 2 + a[at - 1])), tf.shape(a)[0], a[0]
    ),
    shapes=_ROWS,
)
unary(
    "loop_by_two_until_it_is_large",
    lambda a: _while(
        lambda at, sum_: tf.logical_and(at <= tf.shape(a)[0] - 2, tf.reduce_sum(sum_) < 2.0),
        lambda at, sum_: (at + 2, sum_ + tf.abs(a[at])),
        0,
        tf.zeros([3]),
    ),
    shapes=_ROWS,
)
unary(
    "windows_in_a_loop",
    lambda a: _while(
        lambda at, _: at < tf.shape(a)[1] - 2,
        lambda at, sum_: (at + 1, sum_ + a[:, at : at + 2, :] + tf.slice(a, [0, at, 0], [-1, 2, 4])),
        0,
        tf.zeros_like(a[:, :2, :]),
    ),
    _any,
    _SERIES,
)
unary("row_from_the_end", lambda a: a[tf.cast(tf.reduce_max(a) * 0, tf.int32) - 1, :2], (3, 4))
layers(
    "grouped_and_dilated",
    (None, None, 4),
    kl.Conv2D(4, 3, groups=2, dilation_rate=2, padding="same"),
    suffix=".h5",
    shapes={"a": {"min": [1, 9, 8, 4], "opt": [2, 16, 12, 4], "max": [3, 21, 15, 4]}},
)
layers("transposed_by_more_than_its_kernel", (5, 4, 2), kl.Conv2DTranspose(3, (2, 3), strides=(3, 2)))
layers("transposed_with_output_padding", (5, 4, 2), kl.Conv2DTranspose(3, 3, strides=2, output_padding=1))
layers("transposed_in_3d", (3, 4, 5, 2), kl.Conv3DTranspose(3, 2, strides=3, padding="same"))


# Whole numbers of 8 and 16 bits.
_IMAGES = {"a": {"min": [1, 12, 10, 3], "opt": [2, 12, 10, 3], "max": [3, 12, 10, 3]}}
_image = (None, 12, 10, 3)


def _pictures(a: Any) -> Any:
    a = tf.image.flip_left_right(a[:, 1:-1, :, ::-1])
    grey = tf.image.rgb_to_grayscale(a)
    joined = tf.concat([tf.gather(a, [2, 0], axis=-1), grey, tf.zeros_like(grey)], -1)
    padded = tf.pad(joined, [[0, 0], [1, 2], [3, 0], [0, 0]], constant_values=114)
    large = tf.image.resize(tf.where(padded > 100, padded, tf.maximum(padded, 7)), (25, 21), method="nearest")
    return {
        "y": tf.cast(tf.reshape(large, [-1, 25 * 21, 4]), tf.float32) / 255.0,
        "largest": tf.reduce_max(large, 2),
    }


def image(name: str, function: Callable[[Any], Any], dtype: str) -> None:
    """Register `function` of an image."""
    CASES[name] = (function, [tf.TensorSpec(_image, dtype, "a")], _IMAGES)


image("bytes", _pictures, "uint8")
image(
    "bytes_wrap",
    lambda a: {"y": tf.cast(a * 3 + a, tf.float32), "less": tf.cast(tf.cast(a, tf.int32) - 200, tf.uint8)},
    "uint8",
)
unary("bytes_in_a_loop", lambda a: tf.map_fn(lambda row: row[::-1], a), (None, 5), dtype=tf.uint8)
image(
    "pictures_of_16_bits", lambda a: {"y": tf.cast(a[..., ::-1], tf.float32) / 65535.0, "same": a}, "uint16"
)
image("pictures_of_32_bits", lambda a: {"y": tf.cast(a, tf.float32)}, "uint32")
unary("resize_to_sizes_that_scales_miss", lambda a: tf.image.resize(a, (7, 31)), _image, _IMAGES)


def quantised(name: str, kind: str) -> None:
    """Register a model that Keras quantised."""

    def save(path: Path) -> None:
        inside = keras.Input((16,), name="a")
        model = keras.Model(inside, kl.Dense(4)(kl.Dense(32, activation="relu")(inside)))
        model.quantize(kind)
        model.save(path.with_suffix(".keras"))

    CASES[name] = (save, None, None)


quantised("quantised_to_int8", "int8")
quantised("quantised_to_float8", "float8")


# Conditions.
def _by_size(a: Any) -> Any:
    inner = lambda: tf.cond(tf.shape(a)[2] > 5, lambda: a[:, :, :9] * 3, lambda: a)  # noqa: E731
    return tf.cond(tf.shape(a)[1] < tf.unstack(tf.shape(a))[2], lambda: a[:, :10] * 2, inner)


layers("padded_to_its_ratio", _image[1:], kl.Resizing(24, 24, pad_to_aspect_ratio=True))
unary("condition_on_fixed_sizes", _by_size, _image, _IMAGES)
unary("condition_on_the_batch", lambda a: tf.cond(tf.shape(a)[0] > 2, lambda: a * 2, lambda: a - 1))
unary(
    "branches_of_unequal_shapes",
    lambda a: tf.cond(tf.reduce_sum(a) > 0, lambda: a[:, :5] * 2, lambda: a[:, :7] - 1),
    _image,
    _IMAGES,
)


# Updates of a cache, ragged rows, and inputs whose values are sizes.
CASES["cache_update"] = (
    lambda a, at: {
        "y": keras.ops.slice_update(a, tf.stack([0, at[0], 1]), a[:, :2, :2] * 2),
        "taken": keras.ops.slice(a, [0, at[0], 0], [1, 2, 3]),
    },
    [tf.TensorSpec((1, 5, 3), tf.float32, "a"), tf.TensorSpec((1,), tf.int32, "at")],
    None,
)
CASES["ragged_mean"] = (
    lambda a, lengths: {"y": tf.reduce_mean(tf.RaggedTensor.from_tensor(a, lengths=lengths), 1)},
    [tf.TensorSpec((None, 8), tf.float32, "a"), tf.TensorSpec((None,), tf.int64, "lengths")],
    {"a": {"min": [1, 8], "opt": [3, 8], "max": [5, 8]}, "lengths": {"min": [1], "opt": [3], "max": [5]}},
)
CASES["size_as_an_input"] = (
    lambda a, size: {"y": a[:, : size[0] + 3]},
    [tf.TensorSpec((None, 3), tf.float32, "a"), tf.TensorSpec((1,), tf.int32, "size")],
    None,
)
