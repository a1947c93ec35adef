"""Every architecture of `keras.applications` with seeded weights that keep its activations alive."""

# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tests.zoo.large import SIZES
from tests.zoo.weights import settle


def build(name: str) -> tuple[Any, dict[str, Any]]:
    """Return the model, and pictures for its input."""
    size = SIZES.get(name, 224)
    image = keras.Input((size, size, 3), name="image")
    model = getattr(keras.applications, name)(weights=None, input_tensor=image)
    pictures = _pictures(3, size)
    settle(model, [pictures])
    return model, {"image": pictures}


def _pictures(count: int, size: int) -> Any:
    """Return pictures of values from 0 to 255: patches of colour under noise."""
    rng = np.random.default_rng(1)
    patches = rng.uniform(40, 215, (count, 8, 8, 3))
    index = np.arange(size) * 8 // size
    smooth = patches[:, index][:, :, index]
    return np.clip(smooth + rng.normal(0, 20, smooth.shape), 0, 255).astype(np.float32)
