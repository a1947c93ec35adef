"""What no engine can compute: each must be refused, with the reason."""

# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tests.zoo.builders.inputs import Call


def build(name: str) -> Any:
    """Return a module with the function as its signature."""
    made = Call(name, globals()[name])
    # What a function uses must belong to the module, or it cannot be saved.
    made.kept = [_COUNT, _TABLE]
    return made


def strings(text: Any) -> Any:
    return tf.strings.length(text)


def pictures_in_files(data: Any) -> Any:
    return tf.cast(tf.io.decode_jpeg(data, channels=3), tf.float32)


def drawn_noise(x: Any) -> Any:
    return x + tf.random.normal(tf.shape(x))


def drawn_stateless(x: Any) -> Any:
    return x + tf.random.stateless_uniform(tf.shape(x), seed=[1, 2])


def python_code(x: Any) -> Any:
    return tf.numpy_function(np.sin, [x], tf.float32)


def inverse(x: Any) -> Any:
    return tf.linalg.inv(x + 4 * tf.eye(3))


def complex_input(x: Any) -> Any:
    return tf.abs(x)


def scan(x: Any) -> Any:
    return tf.scan(lambda total, row: total + row, x)


def counted(x: Any) -> Any:
    return x + _COUNT.assign_add(1.0)


def lanczos(image: Any) -> Any:
    return tf.image.resize(image, [7, 9], method="lanczos3")


def antialiased(image: Any) -> Any:
    return tf.image.resize(image, [3, 4], antialias=True)


def table(key: Any) -> Any:
    return _TABLE.lookup(key)


_COUNT = tf.Variable(0.0)
_TABLE = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant([1, 2], tf.int64), tf.constant([5, 6], tf.int64)), -1
)
