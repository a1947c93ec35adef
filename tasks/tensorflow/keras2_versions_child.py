"""Child: classes for files of early versions of Keras 2, in which the same words mean something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from tasks.domain.errors import ModelRefused
from tasks.tensorflow.keras_files import keras_version

# tf.keras had this number in TensorFlow 1.13 to 2.1, in which bilinear pixels moved.
_OF_TWO_MEANINGS = "2.2.4-tf"
_BEFORE_THE_MOVE = ((2, 2, 4), (2, 3, 1))  # the last versions of tf.keras, and of the separate package Keras


def classes_of(path: Path) -> dict[str, Any]:
    """Return the classes and functions, by name, that mean something else in `path` than today."""
    version = keras_version(path)
    classes = {layer.__name__: layer for layer in (GRU, GRUCell, MultiHeadAttention, CuDNNLSTM, CuDNNGRU)}
    classes["relu6"] = tf.nn.relu6  # a function of MobileNet's own file
    if version == _OF_TWO_MEANINGS:
        return classes | {"UpSampling2D": _unclear_upsampling(version)}
    return classes | ({"UpSampling2D": UpSampling2D} if _is_before_the_move(version) else {})


def serve_as_in_inference() -> None:
    """Let RandomCrop only resize outside training; otherwise a graph keeps both branches."""
    random_crop = tf_keras.layers.RandomCrop.call

    def call(self: Any, inputs: Any, training: Any = True) -> Any:  # noqa: FBT002 (as Keras calls it)
        if training is not False:
            return random_crop(self, inputs, training)
        x = tf.cast(inputs, self.compute_dtype)
        size = (self.height, self.width)
        return tf.cast(tf_keras.preprocessing.image.smart_resize(x, size), self.compute_dtype)

    tf_keras.layers.RandomCrop.call = call


def _is_before_the_move(version: str) -> bool:
    numbers, _, tensorflow = version.partition("-")
    parts = tuple(int(part) for part in numbers.split(".") if part.isdigit())
    return parts < _BEFORE_THE_MOVE[0] if tensorflow else parts <= _BEFORE_THE_MOVE[1]


class GRU(tf_keras.layers.GRU):  # type: ignore[misc]
    """Before 2.1.5 there was only the kind that resets before the matrix product."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Return the layer."""
        return super().from_config({"reset_after": False} | config)


class GRUCell(tf_keras.layers.GRUCell):  # type: ignore[misc]
    """The cell of the same kind."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Return the cell."""
        return super().from_config({"reset_after": False} | config)


class MultiHeadAttention(tf_keras.layers.MultiHeadAttention):  # type: ignore[misc]
    """TensorFlow 2.4 did not write the shapes that it was built for, so its first call builds it."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Return the layer."""
        return super().from_config(config) if "query_shape" in config else cls(**config)


class CuDNNLSTM:
    """The LSTM for GPUs; tf-keras converts its weights."""

    @staticmethod
    def from_config(config: dict[str, Any]) -> Any:
        """Return the layer for any processor."""
        return tf_keras.layers.LSTM.from_config(config | {"recurrent_activation": "sigmoid"})


class CuDNNGRU:
    """The GRU for GPUs; tf-keras converts its weights."""

    @staticmethod
    def from_config(config: dict[str, Any]) -> Any:
        """Return the layer for any processor."""
        return tf_keras.layers.GRU.from_config(
            config | {"recurrent_activation": "sigmoid", "reset_after": True}
        )


class UpSampling2D(tf_keras.layers.UpSampling2D):  # type: ignore[misc]
    """Its bilinear pixels start at the corner; since TensorFlow 2.0 their centres are at a half."""

    def call(self, inputs: Any) -> Any:
        """Return the larger image."""
        if self.interpolation != "bilinear":
            return super().call(inputs)
        rows, columns = (1, 2) if self.data_format == "channels_last" else (2, 3)
        x = inputs if rows == 1 else tf.transpose(inputs, [0, 2, 3, 1])
        shape = tf.shape(inputs)
        size = [shape[rows] * self.size[0], shape[columns] * self.size[1]]
        x = tf.compat.v1.image.resize_bilinear(x, size)
        x.set_shape([None, *self.compute_output_shape(inputs.shape)[1:]] if rows == 1 else x.shape)
        return x if rows == 1 else tf.transpose(x, [0, 3, 1, 2])


def _unclear_upsampling(version: str) -> Any:
    class Unclear(tf_keras.layers.UpSampling2D):  # type: ignore[misc]
        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            if config.get("interpolation") != "bilinear":
                return tf_keras.layers.UpSampling2D.from_config(config)
            raise ModelRefused(
                wanted="a file that says how its layers compute",
                found=f"layer {config.get('name')} (bilinear UpSampling2D) in a file of Keras {version}, "
                "which TensorFlow 1.13 to 1.15 and TensorFlow 2.0 and 2.1 compute differently",
                fix="export a SavedModel with the TensorFlow that trained the model (tf.saved_model.save)",
            )

    return Unclear
