"""Child: a `.h5` file of Keras 2 in words that Keras 3 reads.

Keras 3 stops at every argument that it no longer has, also at one that says nothing: `time_major: false` of
each LSTM and GRU, `groups: 1` of each depthwise convolution. And it does not find a layer inside another one
(TimeDistributed, Bidirectional) without the module of its class. The weights stay as they are.
"""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import keras

_CONFIG = "model_config"
_SAYS_NOTHING = {"groups": 1}
_OF_EVERY_LAYER = frozenset(
    {"name", "trainable", "dtype", "autocast", "activity_regularizer", "batch_input_shape", "batch_shape"}
    | {"input_shape", "input_dtype", "implementation", "zero_output_for_mask", "input_length"}
)
_INNER = ("layer", "backward_layer", "cell")
_MODELS = {"Sequential": "keras", "Functional": "keras.src.models.functional"}
_SHAPES_SEEN = frozenset({"query_shape", "key_shape", "value_shape"})  # of an attention layer


def modern_h5(path: Path, target: Path) -> Path:
    """Return `path`, or the copy `target` of it where its configuration had to be changed."""
    with h5py.File(path, "r") as file:
        text = file.attrs[_CONFIG]
    config = json.loads(text)
    modern = _modern(config)
    if modern == config:
        return path
    shutil.copyfile(path, target)
    with h5py.File(target, "r+") as file:
        file.attrs[_CONFIG] = json.dumps(modern)
    return target


def _modern(value: Any) -> Any:
    if isinstance(value, list):
        return [_modern(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: _modern(item) for key, item in value.items()}
    layer = getattr(keras.layers, str(value.get("class_name")), None)
    if inspect.isclass(layer) and isinstance(value.get("config"), dict):
        value["config"] = _modern_arguments(layer, value["config"])
    return value


def _modern_arguments(layer: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Return `config` without what `layer` does not take and what says nothing."""
    taken = _OF_EVERY_LAYER | inspect.signature(layer.__init__).parameters.keys()
    kept = {
        key: value
        for key, value in config.items()
        if key in taken
        or not (value in (None, False) or _SAYS_NOTHING.get(key) == value or key in _SHAPES_SEEN)
    }
    for key in _INNER:
        if isinstance(kept.get(key), dict) and "module" not in kept[key]:
            name = kept[key].get("class_name")
            kept[key] = kept[key] | {"module": _MODELS.get(name, "keras.layers"), "registered_name": None}
    axis = kept.get("axis")
    if issubclass(layer, keras.layers.BatchNormalization) and isinstance(axis, list) and len(axis) == 1:
        kept["axis"] = axis[0]
    return kept
