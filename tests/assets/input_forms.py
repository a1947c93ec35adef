"""What a release may hold, in small, for convert_functions.py: every form, type, name and kind of layer."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,untyped-decorator,no-untyped-call"

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.support.keras_layers import saves_layers

CASES: dict[str, Any] = {}
_SEQUENCES = {"a": {"min": [1, 3, 4], "opt": [4, 7, 4], "max": [8, 12, 4]}}
_TOKENS = {"a": {"min": [1, 3], "opt": [4, 7], "max": [8, 12]}}
_PICTURES = {"a": {"min": [1, 9, 8, 3], "opt": [2, 16, 12, 3], "max": [3, 21, 30, 3]}}

# Types of inputs and outputs.
for _dtype in ("int8", "int16", "int32", "int64", "uint8", "bool", "float16", "float64"):
    CASES[f"type_{_dtype}"] = (
        lambda a: {"same": tf.identity(a), "half": tf.cast(a, tf.float32) / 2},
        [tf.TensorSpec((None, 5), _dtype, "a")],
        None,
    )

# Names.
CASES["names"] = (
    lambda left, right: {"scores:0": left + 2 * right, "boxes/raw": left - right, "Ünits": left},
    [tf.TensorSpec((None, 3), tf.float32, "left"), tf.TensorSpec((None, 3), tf.float32, "right")],
    None,
)
CASES["names_twice"] = (
    lambda boxes, scores: {"boxes": 2 * boxes, "scores": scores + boxes, "boxes_out": boxes - scores},
    [tf.TensorSpec((None, 3), tf.float32, "boxes"), tf.TensorSpec((None, 3), tf.float32, "scores")],
    None,
)


def _names_of_keras(path: Path) -> None:
    a, b = keras.Input((4,), name="my input"), keras.Input((4,), name="class")
    ids = keras.Input((5,), dtype="int32", name="größe: 5")
    rows = keras.layers.Flatten()(keras.layers.Embedding(7, 2)(ids))
    inner = {"sum": keras.layers.Add()([a, b]), "list": [keras.layers.Dense(3)(a), rows]}
    keras.Model([a, b, ids], {"inner": inner, "plain": keras.layers.Subtract()([a, b])}).save(
        path.with_suffix(".keras")
    )


CASES["names_of_keras"] = (_names_of_keras, None, None)
_captured = tf.constant([[1.0, 2.0], [3.0, 4.0]])
CASES["captured_constant"] = (
    lambda a: {"y": a @ _captured},
    [tf.TensorSpec((None, 2), tf.float32, "a")],
    None,
)
CASES["suppression"] = (
    lambda a, b: {"kept": tf.image.non_max_suppression(a, b, 3, iou_threshold=0.3)},
    [tf.TensorSpec((8, 4), tf.float32, "a"), tf.TensorSpec((8,), tf.float32, "b")],
    None,
)


def form(name: str, shapes: Any = None) -> Callable[[Callable[[Path], None]], None]:
    """Register a function that writes a model: a folder, or the same path with .keras or .h5."""

    def register(save: Callable[[Path], None]) -> None:
        CASES[name] = (save, None, shapes)

    return register


def layers(
    name: str, shape: tuple[int | None, ...], *stack: Any, shapes: Any = None, dtype: str = "float32"
) -> None:
    """Register a .keras file of a sequence of layers with the input a."""
    form(name, shapes)(saves_layers(shape, stack, dtype=dtype))


layers("lstm", (None, 4), keras.layers.LSTM(5, return_sequences=True), shapes=_SEQUENCES)
layers("gru", (None, 4), keras.layers.GRU(5), shapes=_SEQUENCES)
layers(
    "masked_both_ways",
    (None,),
    keras.layers.Embedding(2, 4, mask_zero=True),
    keras.layers.Bidirectional(keras.layers.LSTM(3)),
    shapes=_TOKENS,
    dtype="int32",
)
layers("any_picture", (None, None, 3), keras.layers.Conv2D(4, 3, strides=2, padding="same"), shapes=_PICTURES)
for _policy in ("mixed_float16", "mixed_bfloat16"):
    layers(
        _policy, (6,), keras.layers.Dense(8, "relu", dtype=_policy), keras.layers.Dense(3, dtype="float32")
    )
layers(
    "upsampling_without_size",
    (None, None, 3),
    keras.layers.UpSampling2D(2, interpolation="bilinear", name="grow"),
    shapes=_PICTURES,
)


@form("attention", _SEQUENCES)
def _attention(path: Path) -> None:
    inside = keras.Input((None, 4), name="a")
    seen = keras.layers.MultiHeadAttention(2, 3, name="look")(inside, inside, use_causal_mask=True)
    keras.Model(inside, keras.layers.LayerNormalization()(seen + inside)).save(path.with_suffix(".keras"))


@form("shared_layer")
def _shared_layer(path: Path) -> None:
    first, second = keras.Input((3,), name="one"), keras.Input((3,), name="two")
    score = keras.layers.Dense(2, name="score")
    keras.Model({"one": first, "two": second}, [score(first), score(second)]).save(path.with_suffix(".keras"))


@form("stateful")
def _stateful(path: Path) -> None:
    inside = keras.Input((3, 4), batch_size=2, name="a")
    keras.Model(inside, keras.layers.LSTM(5, stateful=True, name="memory")(inside)).save(
        path.with_suffix(".keras")
    )


class Doubling(keras.Model):
    """A subclassed model, as in TensorFlow's own examples."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        return 2 * self.dense(inputs)


@form("subclassed_called")
def _subclassed_called(path: Path) -> None:
    model = Doubling()
    model(np.zeros((1, 3), np.float32))
    tf.saved_model.save(model, str(path))


@form("subclassed_never_called")
def _subclassed_never_called(path: Path) -> None:
    tf.saved_model.save(Doubling(), str(path))


class Plain(tf.Module):
    """A module whose function knows its input."""

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, "a")])
    def __call__(self, a: Any) -> Any:
        return tf.nn.softmax(a)


@form("module_with_a_call")
def _module_with_a_call(path: Path) -> None:
    tf.saved_model.save(Plain(), str(path))


class Free(tf.Module):
    """A module whose function takes anything."""

    @tf.function
    def __call__(self, a: Any) -> Any:
        return tf.nn.softmax(a)


@form("module_without_a_signature")
def _module_without_a_signature(path: Path) -> None:
    tf.saved_model.save(Free(), str(path))


class Whitening(keras.layers.Layer):
    """A layer with an operation that ONNX lacks."""

    def call(self, x: Any) -> Any:
        return tf.linalg.cholesky(x @ tf.transpose(x, [0, 2, 1]) + tf.eye(4))


@form("no_onnx_form")
def _no_onnx_form(path: Path) -> None:
    inside = keras.Input((4, 4), name="a")
    keras.Model(inside, Whitening(name="whiten")(inside)).export(str(path), verbose=False)


def _old(archive: str, name: str) -> Callable[[Path], None]:
    """Return what writes the SavedModel `name` of an old TensorFlow."""

    def save(path: Path) -> None:
        with zipfile.ZipFile(Path(__file__).parent / archive) as packed:
            members = [member for member in packed.namelist() if member.startswith(f"{name}.saved_model/")]
            packed.extractall(path.parent / "old", members)
        (path.parent / "old" / f"{name}.saved_model").rename(path)

    return save


form("tensorflow_1_estimator")(_old("tensorflow1/1.4.1.zip", "estimator"))
form("tensorflow_1_table")(_old("tensorflow1/1.13.2.zip", "table"))
form("tensorflow_1_for_a_gpu")(_old("tensorflow1/1.4.1.zip", "for_a_gpu"))
form("keras_2_saved_model")(_old("keras2/2.4.0.zip", "frames"))


@form("keras_2")
def _keras_2(path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parent / "keras2" / "cases.zip") as packed:
        path.with_suffix(".h5").write_bytes(packed.read("keras2_convlstm_h5.h5"))
