"""One small network in each form that a release may have."""

# mypy: disable-error-code="misc,untyped-decorator"

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.zoo.weights import settle


def build(name: str) -> Any:
    """Return the model."""
    return globals().get(name, network)()


def network() -> Any:
    """A functional model; its row says in which form it is written."""
    image = keras.Input((12, 12, 3), name="image")
    x = keras.layers.Conv2D(6, 3, padding="same")(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(0.3)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, keras.layers.Dense(4, activation="softmax", name="scores")(x))
    settle(model, np.random.default_rng(0).standard_normal((4, 12, 12, 3)))
    return model


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = keras.layers.Dense(8, activation="relu")
        self.scores = keras.layers.Dense(3, activation="softmax")

    def call(self, x: Any) -> Any:
        return self.scores(self.hidden(x))


def subclassed() -> Any:
    """A subclassed model, as `tf.saved_model.save(model, folder)` takes it."""
    model = Subclassed()
    model(np.zeros((2, 5), np.float32))
    settle(model, np.random.default_rng(0).standard_normal((4, 5)))
    return model


class Signatures(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(np.random.default_rng(0).standard_normal((4, 3)), dtype=tf.float32)
        self.signatures_of_mine = {"encode": self.encode, "decode": self.decode}

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, "x")])
    def encode(self, x: Any) -> Any:
        return {"code": tf.tanh(x @ self.weight)}

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, "code")])
    def decode(self, code: Any) -> Any:
        return {"x": code @ tf.transpose(self.weight)}


def signatures() -> Any:
    """A module with two signatures; the row names one."""
    return Signatures()


signatures_unnamed = signatures


def tf_module() -> Any:
    """A plain `tf.Module` with variables, one of them not trainable."""

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = tf.Variable(np.random.default_rng(0).standard_normal((5, 2)), dtype=tf.float32)
            self.scale = tf.Variable(2.0, trainable=False)
            self.signatures_of_mine = None

        @tf.function(input_signature=[tf.TensorSpec((None, 5), tf.float32, "x")])
        def __call__(self, x: Any) -> Any:
            return tf.nn.relu(x @ self.weight) * self.scale

    return Module()


def strangers_layer() -> Any:
    """A Keras file with a layer that only its author has."""

    @keras.saving.register_keras_serializable("strangers")
    class Doubled(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    return keras.Sequential([keras.Input((3,), name="x"), Doubled()])


def lambda_code() -> Any:
    """A Keras file with Python code in it."""
    code = keras.layers.Lambda(lambda x: x + 1, name="sneaky")
    return keras.Sequential([keras.Input((3,), name="x"), code])


def random_layer() -> Any:
    """A layer that draws random numbers also when it predicts nothing but images."""
    return keras.Sequential([keras.Input((8, 8, 3), name="x"), keras.layers.RandomFlip()])
