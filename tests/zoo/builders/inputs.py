"""Small models from their rows in the table: a function of the inputs that the row names."""

# mypy: disable-error-code="misc"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.zoo.models import MODELS
from tests.zoo.row import Dim
from tests.zoo.weights import settle


def functional(name: str, function: Callable[..., Any]) -> Any:
    """Return a functional Keras model of `function`, with settled weights."""
    row = MODELS[name]
    inputs = {
        key: keras.Input(
            shape=tuple(map(_dim, dims[1:])),
            batch_size=_dim(dims[0]),
            dtype=row.dtypes.get(key, "float32"),
            name=key,
        )
        for key, dims in row.inputs.items()
    }
    model = keras.Model(list(inputs.values()), function(**inputs), name=name)
    settle(model, list(drawn(name).values()))
    return model


class Call(tf.Module):
    """A module whose only signature is a function of the inputs that the row names."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        super().__init__()
        specs = [
            tf.TensorSpec([_dim(dim) for dim in dims], MODELS[name].dtypes.get(key, "float32"), key)
            for key, dims in MODELS[name].inputs.items()
        ]
        self.call = tf.function(lambda *values: _named(function(*values)), input_signature=specs)
        self.signatures_of_mine = {"serving_default": self.call}


def drawn(name: str) -> dict[str, Any]:
    """Return one value per input of the row, at the best shape."""
    rng = np.random.default_rng(2)
    row = MODELS[name]
    values = {}
    for key, shape in row.shapes().items():
        dtype = np.dtype(row.dtypes.get(key, "float32"))
        floats = dtype.kind == "f"
        value = rng.standard_normal(shape.opt) if floats else rng.integers(0, 2, shape.opt)
        values[key] = value.astype(dtype)
    return values


def _dim(dim: Dim) -> int | None:
    return dim if isinstance(dim, int) else None


def _named(result: Any) -> Any:
    return result if isinstance(result, dict) else {"y": result}
