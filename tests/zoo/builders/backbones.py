"""Backbones of keras-hub in tiny configurations, with seeded weights and without downloads."""

# mypy: disable-error-code="misc"

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.zoo.models import MODELS
from tests.zoo.weights import settle

_VOCABULARY = 100
_WIDTHS = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
_GROUPED = {"num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 32}
_TEXT = {"vocabulary_size": _VOCABULARY}
_LENGTH = {"max_sequence_length": 32}

_CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "Bert": _TEXT | _WIDTHS | _LENGTH,
    "Roberta": _TEXT | _WIDTHS | _LENGTH,
    "DistilBert": _TEXT | _WIDTHS | _LENGTH,
    "Albert": _TEXT | _WIDTHS | {"embedding_dim": 8, "max_sequence_length": 32},
    "Electra": {"vocab_size": _VOCABULARY} | _WIDTHS | {"embedding_dim": 8, "max_sequence_length": 32},
    "DebertaV3": _TEXT | _WIDTHS | {"max_sequence_length": 32, "bucket_size": 8},
    "GPT2": _TEXT | _WIDTHS | _LENGTH,
    "OPT": _TEXT | _WIDTHS | _LENGTH,
    "Bart": _TEXT | _WIDTHS | _LENGTH,
    "T5": _TEXT | _WIDTHS,
    "Llama": _TEXT | _GROUPED | {"intermediate_dim": 48},
    "Mistral": _TEXT | _GROUPED | {"intermediate_dim": 48, "sliding_window": 8},
    "Gemma": _TEXT | _GROUPED | {"intermediate_dim": 48, "head_dim": 8},
    "Whisper": _TEXT
    | _WIDTHS
    | {"num_mels": 8, "max_encoder_sequence_length": 64, "max_decoder_sequence_length": 32},
    "ViT": {
        "image_shape": (32, 32, 3),
        "patch_size": (8, 8),
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "mlp_dim": 32,
    },
}


def build(name: str) -> tuple[Path, dict[str, Any]]:
    """Return an exported SavedModel (a `.keras` file would need keras-hub to load), and inputs."""
    module = importlib.import_module("keras_hub.models")
    model = getattr(module, f"{name}Backbone")(**_CONFIGURATIONS[name])
    samples = {key: _sample(name, key) for key in MODELS[name].inputs}
    settle(model, samples)
    folder = Path(tempfile.mkdtemp()) / "saved_model"
    model.export(str(folder), verbose=False)
    return folder, samples


def _sample(name: str, key: str) -> Any:
    """Return three rows: words of the vocabulary, and masks whose rows end at different places."""
    rng = np.random.default_rng(len(key))
    shape = (3, *MODELS[name].shapes()[key].max[1:])
    if key.endswith("token_ids"):
        return rng.integers(1, _VOCABULARY, shape, np.int32)
    if key.endswith("mask"):
        ends = np.array([[shape[1]], [shape[1] * 3 // 4], [shape[1] // 2]])
        return (np.arange(shape[1]) < ends).astype(np.int32)
    if key.endswith("ids"):
        return rng.integers(0, 2, shape, np.int32)
    return rng.standard_normal(shape).astype(np.float32)
