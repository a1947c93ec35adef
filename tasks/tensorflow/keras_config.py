"""Checks the configuration of `.keras` and `.h5` files without Keras, which would act on it."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from tasks.domain.errors import ModelRefused, ModelUnreadable
from tasks.tensorflow.archives import check_zip

_CODE_CLASSES = ("Lambda", "__lambda__")
_OWN_PACKAGES = ("keras", "keras_hub", "keras_nlp", "keras_cv", "builtins", "tensorflow.keras", "tf_keras")
_AGAIN = "save the model again and upload the whole file; it may have been cut off"


def check_keras(path: Path) -> None:
    """Check a `.keras` file.

    Raises:
        ArchiveRefused: a member's path or size is hostile.
        ModelRefused: the configuration carries code, or the weights point to other files.
        ModelUnreadable: the file is damaged, or needs classes that are not in it.
    """
    if not zipfile.is_zipfile(path):
        raise _damaged(path, "not a zip file")
    check_zip(path)
    try:
        with zipfile.ZipFile(path) as packed, tempfile.TemporaryFile() as weights:
            config = json.loads(packed.read("config.json"))
            with packed.open("model.weights.h5") as data:
                shutil.copyfileobj(data, weights)
            with h5py.File(weights, "r") as file:
                _refuse_outside_data(file, path)
    except (
        KeyError,
        OSError,
        ValueError,
        RuntimeError,
        RecursionError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    check_config(config)


def check_h5(path: Path) -> None:
    """Check a legacy `.h5` file.

    Raises:
        ModelRefused: as `check_keras`.
        ModelUnreadable: the file is damaged, holds weights alone, or needs classes that are not in it.
    """
    try:
        with h5py.File(path, "r") as file:
            _refuse_outside_data(file, path)
            text = file.attrs.get("model_config")
            config = None if text is None else json.loads(text)
    except (OSError, ValueError, RuntimeError, RecursionError, KeyError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if config is None:
        raise ModelUnreadable(
            wanted=f"a whole model in {path.name}",
            found="weights without the attribute model_config",
            fix="save with model.save(...) instead of model.save_weights(...), or export a SavedModel",
        )
    check_config(config)


def check_config(config: Any) -> None:
    """Walk a Keras configuration.

    Raises:
        ModelRefused: an object in it carries or names code.
        ModelUnreadable: an object in it is of a class that Keras does not have.
    """
    for layer, node in _objects(config, "the model"):
        kind, module = node["class_name"], node.get("module")
        own = module is None or str(module).startswith(tuple(f"{name}." for name in _OWN_PACKAGES))
        own = own or module in _OWN_PACKAGES
        if kind in _CODE_CLASSES or _holds_bytecode(node) or (kind == "function" and not own):
            raise ModelRefused(
                wanted="a model that is described by data alone",
                found=f"layer {layer} with Python code in its configuration ({kind})",
                fix="replace it by built-in layers or keras.ops, or upload a SavedModel (model.export)",
            )
        if not own or (module is None and ">" in str(node.get("registered_name") or "")):
            raise ModelUnreadable(
                wanted="layers that Keras itself has",
                found=f"layer {layer} of the class {kind} from {module or node['registered_name']}",
                fix="upload a SavedModel (model.export), which holds the computation of custom layers",
            )


def _holds_bytecode(node: dict[str, Any]) -> bool:
    config = node.get("config")
    return isinstance(config, dict) and config.get("function_type") == "lambda"


def _objects(config: Any, layer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every serialised object with the name of the layer that it lies in."""
    waiting = [(layer, config)]
    while waiting:
        layer, value = waiting.pop()
        if isinstance(value, list):
            waiting += [(layer, item) for item in value]
        elif isinstance(value, dict):
            inner = value.get("config")
            if isinstance(inner, dict) and isinstance(inner.get("name"), str):
                layer = inner["name"]  # the objects below belong to the nearest name
            if isinstance(value.get("class_name"), str):
                yield layer, value
            waiting += [(layer, item) for item in value.values()]


def _refuse_outside_data(group: Any, path: Path) -> None:
    """Refuse HDF5 entries that would read other files of the host."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise _outside(path, f"{group.name}/{name}, a link to {link.filename}")
        if isinstance(link, h5py.SoftLink):
            continue  # leads to an entry of this file, which is visited by itself
        entry = group[name]
        if isinstance(entry, h5py.Group):
            _refuse_outside_data(entry, path)
        elif isinstance(entry, h5py.Dataset) and (entry.external or entry.is_virtual):
            raise _outside(path, f"{entry.name}, whose data lies in another file")


def _outside(path: Path, found: str) -> ModelRefused:
    return ModelRefused(
        wanted=f"all of the model in {path.name}",
        found=found,
        fix="save the model again with model.save(...)",
    )


def _damaged(path: Path, found: str) -> ModelUnreadable:
    return ModelUnreadable(wanted=f"a readable Keras file {path.name}", found=found, fix=_AGAIN)
