"""Builds the small models that the tests of the TensorFlow side use, into the folder given as argument."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,untyped-decorator"

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.support.seeds import seed_everything


def two_by_two() -> Any:
    """A functional model with two inputs and two outputs, whose names are not in alphabetical order."""
    image = keras.Input((8, 8, 3), name="zebra")
    facts = keras.Input((5,), name="apple")
    hidden = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(image)
    hidden = keras.layers.BatchNormalization()(hidden)
    hidden = keras.layers.Dropout(0.5)(keras.layers.ReLU()(hidden))
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)
    joined = keras.layers.Concatenate()([hidden, facts])
    scores = keras.layers.Dense(3, activation="softmax", name="scores")(joined)
    amount = keras.layers.Dense(1, name="amount")(joined)
    model = keras.Model([image, facts], [scores, amount])
    model.compile("adam", "mse")
    return model


def tokens() -> Any:
    """A functional model that takes ids of several kinds, a mask and bytes."""
    ids, kinds = (keras.Input((6,), dtype=dtype, name=dtype) for dtype in ("int32", "int64"))
    whole = keras.Input((6,), name="whole")  # a float, which is what Keras makes of an input unless told
    chosen = keras.Input((), dtype="int16", name="chosen")
    mask, pixels = (keras.Input((6,), dtype=dtype, name=dtype) for dtype in ("bool", "uint8"))
    table = keras.layers.Embedding(50, 4)(ids) + keras.layers.Embedding(40, 4)(ids)
    hidden = table + keras.layers.Embedding(2, 4)(kinds) + keras.layers.Embedding(7, 4)(whole)
    kept = keras.ops.cast(mask, "float32") + keras.ops.cast(pixels, "float32") / 255
    rows = keras.ops.sum(hidden * keras.ops.expand_dims(kept, -1), axis=1)
    scores = keras.ops.concatenate([rows, keras.ops.one_hot(chosen, 5)], axis=-1)
    return keras.Model([ids, kinds, whole, chosen, mask, pixels], {"scores": scores})


def only_ids() -> Any:
    """A functional model without an input of floats."""
    ids = keras.Input((6,), dtype="int32", name="ids")
    rows = keras.layers.Flatten()(keras.layers.Embedding(9, 8)(ids))
    return keras.Model(ids, {"y": keras.layers.Dense(3)(rows)})


def mixed() -> Any:
    """A functional model that computes in BF16, its output included."""
    image = keras.Input((8, 8, 3), name="image")
    hidden = keras.layers.Conv2D(4, 3, activation="relu", dtype="mixed_bfloat16")(image)
    hidden = keras.layers.GlobalAveragePooling2D(dtype="mixed_bfloat16")(hidden)
    scores = keras.layers.Dense(3, "softmax", dtype="mixed_bfloat16", name="scores")(hidden)
    return keras.Model(image, scores)


class Many(tf.Module):
    """Signatures that convert, and signatures that must be refused."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(np.arange(12, dtype=np.float32).reshape(3, 4) / 12)
        self.count = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, "x")])
    def gelu(self, x: Any) -> dict[str, Any]:
        return {"y": tf.nn.gelu(x @ self.weight, approximate=False)}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, 4), tf.int64, "right"),
            tf.TensorSpec((None, 4), tf.int64, "left"),
        ]
    )
    def minus(self, right: Any, left: Any) -> dict[str, Any]:
        return {"difference": left - right, "total": left + right}

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.float32, "x")])
    def open(self, x: Any) -> dict[str, Any]:
        return {"y": tf.reduce_sum(x @ self.weight, axis=1)}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, 3), tf.float32, "x"),
            tf.TensorSpec((None, 2), tf.int32, "spare"),
        ]
    )
    def loop(self, x: Any, spare: Any) -> dict[str, Any]:
        del spare
        square = self.weight @ tf.transpose(self.weight) / 4
        _, y = tf.while_loop(lambda step, _: step < 5, lambda step, y: (step + 1, y @ square), (0, x))
        return {"y": tf.cond(tf.reduce_sum(x) > 0, lambda: y, lambda: -y)}

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4), tf.float32, "x")])
    def factor(self, x: Any) -> dict[str, Any]:
        """An operation without an ONNX form, between others that have one."""
        positive = tf.matmul(x, x, transpose_b=True) + 4 * tf.eye(4)
        return {"y": tf.reduce_sum(2 * tf.linalg.cholesky(positive), -1)}

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4), tf.float32, "x")], jit_compile=True)
    def inverse(self, x: Any) -> dict[str, Any]:
        return {"y": tf.linalg.inv(x + 4 * tf.eye(4))}

    @tf.function(input_signature=[tf.TensorSpec((None, 3, 8, 8), tf.float32, "x")])
    def channels_first(self, x: Any) -> dict[str, Any]:
        """Convolutions that TensorFlow's plain kernels for processors refuse."""
        kernel = tf.reshape(tf.range(3.0 * 3 * 3 * 4) / 50 - 1, (3, 3, 3, 4))
        y = tf.nn.max_pool2d(tf.nn.conv2d(x, kernel, 1, "SAME", "NCHW"), 2, 2, "VALID", "NCHW")
        size = tf.stack([tf.shape(x)[0], 3, 8, 8])
        return {"y": tf.nn.conv2d_transpose(y, kernel, size, 2, "SAME", "NCHW")}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "text")])
    def strings(self, text: Any) -> dict[str, Any]:
        return {"length": tf.strings.length(text)}

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, "x")])
    def noisy(self, x: Any) -> dict[str, Any]:
        return {"y": x + tf.random.normal(tf.shape(x))}

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, "x")])
    def counts(self, x: Any) -> dict[str, Any]:
        return {"y": x + self.count.assign_add(1.0)}


class Heavy(tf.Module):
    """Weights that are large enough to be kept outside of the graph, read in every way that has an effect."""

    def __init__(self) -> None:
        super().__init__()
        draw = np.random.default_rng(0).normal
        self.words = tf.Variable(draw(size=(600, 64)).astype(np.float32))
        self.places = tf.Variable(draw(size=(512, 64)).astype(np.float32))
        self.three = tf.Variable(draw(size=(64, 384)).astype(np.float32) / 8)
        self.half = tf.Variable(draw(size=(64, 576)).astype(np.float16) / 8)
        self.square = tf.Variable(draw(size=(160, 160)).astype(np.float32) / 16)
        self.kernel = tf.Variable(draw(size=(3, 3, 64, 32)).astype(np.float32) / 24)
        self.constant = tf.constant(draw(size=(64, 288)).astype(np.float32) / 8)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, 16), tf.int32, "ids"),
            tf.TensorSpec((None, 160), tf.float32, "rows"),
        ]
    )
    def serve(self, ids: Any, rows: Any) -> dict[str, Any]:
        x = tf.gather(self.words, ids) + self.places[:16]
        first, second, third = tf.split(self.three, 3, axis=1)
        mean, variance = tf.nn.moments(self.kernel, [0, 1, 2], keepdims=True)
        standard = (self.kernel - mean) * tf.math.rsqrt(variance + 1e-5)
        image = tf.reshape(x, (-1, 4, 4, 64))
        _, looped = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y @ self.square), (0, rows))
        return {
            "scores": tf.matmul(x, self.words, transpose_b=True) + tf.reduce_sum(self.places),
            "parts": x @ first - x @ second * tf.sigmoid(x @ third),
            "halves": x @ tf.cast(self.half, tf.float32),
            "convolved": tf.nn.conv2d(image, standard, 1, "SAME"),
            "looped": tf.cond(tf.reduce_sum(rows) > 0, lambda: looped @ self.square, lambda: -looped),
            "constant": x @ self.constant,
            "words": self.words.read_value(),
        }


class OneCall(tf.Module):
    """A module whose only function is `step`, on float rows of three."""

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step = step

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, "x")])
    def serve(self, x: Any) -> dict[str, Any]:
        return {"y": self.step(x)}


class WritingInitialiser(tf.lookup.KeyValueTensorInitializer):
    """Writes a file of the host whenever its table is initialised, which loading the model does."""

    def initialize(self, table: Any) -> Any:
        tf.io.write_file(PROOF, "loaded")
        return super().initialize(table)


PROOF = str(Path(sys.argv[1]).resolve() / "proof")


def _read_file(x: Any) -> Any:
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def _call_python(x: Any) -> Any:
    result = tf.numpy_function(np.sin, [x], tf.float32)
    result.set_shape(x.shape)
    return result


def _save(module: Any, folder: Path, **signatures: Any) -> None:
    tf.saved_model.save(module, str(folder), signatures=signatures)


@keras.saving.register_keras_serializable("strangers")
class Doubled(keras.layers.Layer):
    """A layer that no other process knows."""

    def call(self, x: Any) -> Any:
        return 2 * x


def _sequential(layer: Any) -> Any:
    return keras.Sequential([keras.Input((3,)), layer])


def main(folder: Path) -> None:
    """Write every model below `folder`."""
    seed_everything()
    model, draw = two_by_two(), np.random.default_rng(0).random
    model.fit([draw((8, 8, 8, 3)), draw((8, 5))], [draw((8, 3)), draw((8, 1))], verbose=0)
    model.save(folder / "two.keras")
    model.save(folder / "two.h5")
    model.save_weights(folder / "only.weights.h5")
    tokens().save(folder / "tokens.keras")
    only_ids().save(folder / "only_ids.keras")
    mixed().save(folder / "mixed.keras")
    many = Many()
    names = (
        "gelu",
        "minus",
        "loop",
        "open",
        "channels_first",
        "factor",
        "inverse",
        "strings",
        "noisy",
        "counts",
    )
    _save(many, folder / "many", **{name: getattr(many, name) for name in names})
    heavy = Heavy()
    _save(heavy, folder / "heavy", serving_default=heavy.serve)
    _save(many, folder / "only_strings", serving_default=many.strings)
    for name, step in (("reads", _read_file), ("python", _call_python)):
        module = OneCall(step)
        _save(module, folder / name, serving_default=module.serve)
    module = OneCall(lambda x: 2 * x)
    module.table = tf.lookup.StaticHashTable(WritingInitialiser(["a"], [1.0]), 0.0)
    _save(module, folder / "writes_on_load", serving_default=module.serve)
    lambdas = _sequential(keras.layers.Lambda(lambda x: x + 1, name="sneaky"))
    lambdas.save(folder / "lambda.keras")
    lambdas.save(folder / "lambda.h5")
    _sequential(Doubled(name="mine")).save(folder / "custom.keras")
    Path(PROOF).unlink()  # written while the table was made here


if __name__ == "__main__":
    main(Path(sys.argv[1]))
