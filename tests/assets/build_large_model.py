"""Builds a SavedModel with more than 2 GiB of weights in dense layers, into the folder given as argument."""

# TensorFlow has no types of its own.
# mypy: disable-error-code="misc,untyped-decorator"

from __future__ import annotations

import sys
from typing import Any

import tensorflow as tf

_LAYERS, _WIDTH = 11, 7168  # 11 times 196 MiB


class Large(tf.Module):
    """Dense layers whose signals neither vanish nor explode."""

    def __init__(self) -> None:
        super().__init__()
        self.first = tf.Variable(tf.random.stateless_normal((64, _WIDTH), (0, 0)) / 8)
        self.kernels = [
            tf.Variable(tf.random.stateless_normal((_WIDTH, _WIDTH), (1, layer)) / _WIDTH**0.5)
            for layer in range(_LAYERS)
        ]
        self.biases = [tf.Variable(tf.ones(_WIDTH) / 8) for _ in range(_LAYERS)]
        self.last = tf.Variable(tf.random.stateless_normal((_WIDTH, 8), (2, 0)) / _WIDTH**0.5)

    @tf.function(input_signature=[tf.TensorSpec((None, 64), tf.float32, "x")])
    def serve(self, x: Any) -> dict[str, Any]:
        y = x @ self.first
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            y = 2**0.5 * tf.nn.relu(y @ kernel + bias)
        return {"y": y @ self.last}


if __name__ == "__main__":
    large = Large()
    tf.saved_model.save(large, sys.argv[1], signatures={"serving_default": large.serve})
