"""Weights that are the same in every run, whatever was built before: for all that builds models for tests."""

from __future__ import annotations

import keras

SEED = 3


def seed_everything() -> None:
    """Reset the generators of Python, NumPy, TensorFlow and Keras, from which initialisers draw."""
    keras.utils.set_random_seed(SEED)
