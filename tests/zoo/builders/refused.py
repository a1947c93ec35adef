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
    made.kept = [_COUNT]
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


def inverse_large(x: Any) -> Any:
    return tf.linalg.inv(x + 9 * tf.eye(8))


def complex_input(x: Any) -> Any:
    return tf.abs(x)


def counted(x: Any) -> Any:
    return x + _COUNT.assign_add(1.0)


def lanczos_dynamic(image: Any) -> Any:
    return tf.image.resize(image, tf.shape(image)[1:3] // 2, method="lanczos3")


_COUNT = tf.Variable(0.0)
