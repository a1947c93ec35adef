"""Writes the untrained models that the scripts of this folder build, with seeded weights.

    python gpu_models.py NAME PATH

NAME is `attention` or an application of Keras such as `ResNet50` (PATH becomes a .keras file), or `detector`
(PATH becomes a SavedModel), which ends with TensorFlow's own suppression of overlapping boxes. Applications
get the seeded weights of the zoo, under which they compute something that is worth comparing.
"""

# TensorFlow has no types of its own.
# mypy: disable-error-code="misc,no-untyped-call,untyped-decorator"

from __future__ import annotations

import sys
from typing import Any

import keras
import tensorflow as tf

from tests.zoo.builders.applications import build as application

_CLASSES, _CELLS = 3, 8


def attention() -> Any:
    """Return self-attention with a residual and a norm over 32 tokens of 64 values."""
    x = keras.Input((32, 64), name="tokens")
    y = keras.layers.MultiHeadAttention(4, 16, name="attention")(x, x)
    return keras.Model(x, keras.layers.LayerNormalization(name="normed")(x + y))


def features() -> Any:
    """Return a small network from pictures of 64 by 64 to one box and three scores in each of 64 cells."""
    x = image = keras.Input((64, 64, 3), name="image")
    for width in (16, 32, 64):
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(image, keras.layers.Conv2D(4 + _CLASSES, 1)(x))


class Detector(tf.Module):
    """Pictures to at most ten boxes with scores and classes each."""

    def __init__(self) -> None:
        super().__init__()
        self.features = features()

    @tf.function(input_signature=[tf.TensorSpec((None, 64, 64, 3), tf.float32, "image")])
    def __call__(self, image: Any) -> dict[str, Any]:
        """Return what is found in each picture."""
        cells = tf.reshape(self.features(image), (-1, _CELLS * _CELLS, 4 + _CLASSES))
        places = tf.sigmoid(cells[..., :4])
        low, size = places[..., :2] * 0.7, places[..., 2:] * 0.3
        boxes = tf.concat([low, low + size], -1)[:, :, None, :]
        scores = tf.sigmoid(4 * cells[..., 4:])
        names = ("boxes", "scores", "classes", "count")
        kept = tf.image.combined_non_max_suppression(boxes, scores, 10, 10, 0.5, 0.3)
        return dict(zip(names, kept, strict=True))


def main() -> None:
    """Write one model."""
    name, path = sys.argv[1:]
    keras.utils.set_random_seed(7)
    if name == "attention":
        attention().save(path)
    elif name == "detector":
        detector = Detector()
        tf.saved_model.save(detector, path, signatures={"serving_default": detector.__call__})
    else:
        application(name)[0].save(path)


if __name__ == "__main__":
    main()
