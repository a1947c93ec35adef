"""Creates the demo's release: a small convolutional network that reads handwritten digits.

Trained on scikit-learn's own digits (1,797 grey images of 8x8 pixels, UCI), which need no download:

    uv run --with scikit-learn python flows/demo_release/train.py
"""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
_SEED = 7
_SAMPLES = 64


def network() -> keras.Model:
    """Return the untrained network: images (batch, 8, 8, 1) to scores (batch, 10)."""
    image = keras.Input((8, 8, 1), name="image")
    features = image
    for filters in (16, 32):
        features = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(features)
        features = keras.layers.BatchNormalization()(features)
        features = keras.layers.ReLU()(features)
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.MaxPooling2D()(features))
    features = keras.layers.Dense(64, activation="relu")(features)
    scores = keras.layers.Dense(10, activation="softmax", name="scores")(features)
    return keras.Model(image, {"scores": scores}, name="digits")


def main() -> None:
    """Train, measure the accuracy on held-out images, and write model, samples and figures."""
    keras.utils.set_random_seed(_SEED)
    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32)
    order = np.random.default_rng(_SEED).permutation(len(images))
    held_out, training = order[:360], order[360:]
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images[training], digits.target[training], batch_size=32, epochs=40, verbose=0)
    scores = model.predict(images[held_out], verbose=0)["scores"]
    accuracy = float(np.mean(np.argmax(scores, axis=1) == digits.target[held_out]))
    keras.Model(model.input, model.output, name="digits").save(HERE / "model.keras")
    np.savez_compressed(HERE / "samples.npz", image=images[held_out][:_SAMPLES])
    np.savez_compressed(HERE / "held_out.npz", image=images[held_out], digit=digits.target[held_out])
    figures = {"accuracy_on_held_out": accuracy, "held_out": len(held_out), "keras": keras.__version__}
    (HERE / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
