"""Keras models of one sequence of layers, for files of cases. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras


def saves_layers(
    shape: tuple[int | None, ...], stack: tuple[Any, ...], *, suffix: str = ".keras", dtype: str = "float32"
) -> Callable[[Path], None]:
    """Return what saves these layers over the input a; without a suffix they are exported as a SavedModel."""

    def save(path: Path) -> None:
        inside = keras.Input(shape, name="a", dtype=dtype)
        outside = inside
        for layer in stack:
            outside = layer(outside)
        whole = keras.Model(inside, outside)
        if suffix:
            whole.save(path.with_suffix(suffix))
        else:
            whole.export(str(path), verbose=False)

    return save
