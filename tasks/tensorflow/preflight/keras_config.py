"""Checks the configuration of `.keras` and `.h5` files without Keras, which would execute it."""

from __future__ import annotations

import builtins
import errno
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from tasks.domain.errors import FarmError, ModelRefused, ModelUnreadable
from tasks.tensorflow.preflight.archives import check_zip
from tasks.tensorflow.preflight.h5 import check_entries
from tasks.tensorflow.preflight.keras_classes import CLASSES
from tasks.tensorflow.preflight.tf_symbols import called_by, computes

_LARGEST_CONFIG = 32 << 20
_MOST_OBJECTS = 100_000
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# A `__typespec__` calls the class that it names.
_CODE_CLASSES = {"Lambda", "__lambda__", "__typespec__", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
# A class of Keras that loads a SavedModel from a path of the host.
_LOADING_CLASSES = {"TFSMLayer"}
# Keys of file names, in layers and in the feature columns of DenseFeatures.
_FILES = ("vocabulary", "vocabulary_file", "ckpt_to_load_from")
# Only these modules of Keras hold functions that compute; others open files, URLs and settings.
_PURE = r"activations|constraints|initializers|losses|metrics|ops|regularizers"
_PURE_FUNCTIONS = re.compile(
    rf"builtins|keras(\.src)?\.({_PURE})(\..+)?|keras_(hub|nlp|cv)\.src\.utils\.keras_utils"
)
# These modules have such functions beside those that compute.
_NO_COMPUTATION = re.compile(r"(de)?serialize\w*|get|register\w*|load\w*|import\w*")
# Capitalised names are classes there (or `Input`, which makes one), and `CLASSES` has those that layers need.
# Elsewhere they may load models and data.
_CLASSES = re.compile(
    rf"(tf_|tensorflow\.)?keras(\.src|\._legacy)*(\.(layers|models|engine|optimizers|dtype_policies"
    rf"|mixed_precision|quantizers|random|{_PURE})(\..+)?)?|keras_(hub|nlp|cv)(\..+)?"
)
_OWN_PACKAGES = ("keras", "keras_hub", "keras_nlp", "keras_cv", "builtins", "tensorflow.keras", "tf_keras")
_EXTENSIONS = ("keras_hub", "keras_nlp", "keras_cv")
_AGAIN = "save the model again and upload the whole file; it may have been cut off"


def check_keras(path: Path) -> None:
    """Check a `.keras` file.

    Raises:
        ArchiveRefused: a member's path or size is hostile.
        ModelRefused: the configuration carries code, or the weights point to other files.
        ModelUnreadable: the file is damaged, or needs classes that are not in it.
    """
    if h5py.is_hdf5(path):  # before Keras 2.12, `.keras` was another name for `.h5`
        check_h5(path)
        return
    with _damage_named(path):
        if not zipfile.is_zipfile(path):
            raise _damaged(path, "not a zip file")
        check_zip(path)
        with zipfile.ZipFile(path) as packed, tempfile.TemporaryFile() as weights:
            config = _read_config(packed)
            with packed.open("model.weights.h5") as data:
                shutil.copyfileobj(data, weights)
            with h5py.File(weights, "r") as file:
                check_entries(file, path)
        check_config(config)


def _read_config(packed: zipfile.ZipFile) -> Any:
    size = packed.getinfo("config.json").file_size
    if size > _LARGEST_CONFIG:
        raise _too_large(f"a configuration of {size} bytes, but at most {_LARGEST_CONFIG} are accepted")
    return json.loads(packed.read("config.json"))


def check_h5(path: Path) -> None:
    """Check a legacy `.h5` file.

    Raises:
        ModelRefused: as `check_keras`.
        ModelUnreadable: the file is damaged, holds weights alone, or needs classes that are not in it.
    """
    with _damage_named(path):
        with h5py.File(path, "r") as file:
            check_entries(file, path)
            text = file.attrs.get("model_config")
        if text is None:
            raise ModelUnreadable(
                wanted=f"a whole model in {path.name}",
                found="weights without the attribute model_config",
                fix="save with model.save(...) instead of model.save_weights(...), or export a SavedModel",
            )
        if len(text) > _LARGEST_CONFIG:
            raise _too_large(
                f"a configuration of {len(text)} bytes, but at most {_LARGEST_CONFIG} are accepted"
            )
        check_config(json.loads(text))


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn any error of the readers of zip, JSON and HDF5 for a damaged file into a typed one."""
    try:
        yield
    except (FarmError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise
        raise _damaged(path, f"{type(error).__name__}: {error}") from error


def check_config(config: Any) -> None:
    """Check a Keras configuration.

    Raises:
        ModelRefused: an object in it carries or names code.
        ModelUnreadable: an object in it is of a class that Keras does not have.
    """
    for count, (layer, node) in enumerate(_objects(config, "the model")):
        if count >= _MOST_OBJECTS:
            raise _too_large(f"more than {_MOST_OBJECTS} layers and parts of layers")
        _check_object(layer, node)


def _check_object(layer: str, node: dict[str, Any]) -> None:
    kind, module = _class_of(node)
    from_keras = module is None or f"{module}.".startswith(tuple(f"{name}." for name in _OWN_PACKAGES))
    names = {kind, _registered(node)}
    if names & _CODE_CLASSES or _holds_bytecode(node) or _is_impure(node, from_keras=from_keras):
        raise ModelRefused(
            wanted="a model that is described by data alone",
            found=f"layer {layer} with Python code in its configuration ({kind})",
            fix="replace it by built-in layers or keras.ops, or upload a SavedModel (model.export)",
        )
    if names & _LOADING_CLASSES or _names_a_file(node):
        raise ModelRefused(
            wanted="a model that is complete in its file",
            found=f"layer {layer} ({kind}), which reads a file of the host when it is loaded",
            fix="give the layer its vocabulary as a list, or upload a SavedModel (model.export)",
        )
    symbol = called_by(kind, node.get("config"))
    if symbol and not computes(symbol):
        raise ModelRefused(
            wanted="layers that only compute",
            found=f"layer {layer} ({kind}), which calls tf.{symbol} when it is loaded",
            fix="leave the call out of the model, or upload a SavedModel (model.export)",
        )
    if not from_keras or _is_custom(node) or _is_unknown(kind, module):
        raise ModelUnreadable(
            wanted="layers that Keras itself has",
            found=f"layer {layer} of the class {kind}" + _origin(kind, node),
            fix="upload a SavedModel (model.export), which holds the computation of custom layers",
        )


def _class_of(node: dict[str, Any]) -> tuple[str, str | None]:
    """Return name and module of the object's class: Keras joins them, so the name may have dots."""
    kind, module = node["class_name"], node.get("module")
    if "." in kind and ">" not in kind:
        kind = f"{module}.{kind}" if module else kind
        module, _, kind = kind.rpartition(".")
    return kind, None if module is None else str(module)


def _registered(node: dict[str, Any]) -> str:
    """Return the name that the object is registered by, without its package: Keras 2 looks it up first."""
    return str(node.get("registered_name") or "").rpartition(">")[2].rpartition(".")[2]


def _is_custom(node: dict[str, Any]) -> bool:
    """Return whether the object is not from Keras: a class of a notebook has a name and no module."""
    named = node.get("registered_name") and node["class_name"] != "function"
    return node.get("module") is None and (">" in node["class_name"] or bool(named))


def _origin(kind: str, node: dict[str, Any]) -> str:
    """Return where the class or function comes from, as far as the file says."""
    source = node.get("module") or node.get("registered_name")
    return f" from {source}" if source and source != kind else ", which is defined outside Keras"


def _holds_bytecode(node: dict[str, Any]) -> bool:
    config = node.get("config")
    return isinstance(config, dict) and config.get("function_type") == "lambda"


def _is_impure(node: dict[str, Any], *, from_keras: bool) -> bool:
    """Return whether it is a function that may do more than compute; a class of strangers is none."""
    kind, module = _class_of(node)
    if kind != "function":
        is_class = module is None or (kind[:1].isupper() and _CLASSES.fullmatch(module))
        return from_keras and not is_class
    if module is not None and not _PURE_FUNCTIONS.fullmatch(module):
        return True
    name = str(node.get("config")).rpartition(".")[2]
    return (module == "builtins" and hasattr(builtins, name)) or bool(_NO_COMPUTATION.fullmatch(name))


def _is_unknown(kind: str, module: str | None) -> bool:
    """Return whether Keras has no layer, and no part of layers, of this name."""
    if module is None or kind == "function" or module.startswith(_EXTENSIONS):
        return False
    return kind not in CLASSES


def _names_a_file(node: dict[str, Any]) -> bool:
    config = node.get("config")
    return isinstance(config, dict) and any(isinstance(config.get(key), str) for key in _FILES)


def _objects(config: Any, layer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every serialised object with the name of the layer that contains it."""
    pending = [(layer, config)]
    while pending:
        layer, value = pending.pop()
        if isinstance(value, list):
            pending += [(layer, item) for item in value]
        elif isinstance(value, dict):
            inner = value.get("config")
            if isinstance(inner, dict) and isinstance(inner.get("name"), str):
                layer = inner["name"]  # the objects below belong to the nearest name
            if isinstance(value.get("class_name"), str):
                yield layer, value
            pending += [(layer, item) for item in value.values()]


def _too_large(problem: str) -> ModelRefused:
    return ModelRefused(
        wanted="a model that Keras can build in minutes",
        found=problem,
        fix="split the model, or export a SavedModel",
    )


def _damaged(path: Path, problem: str) -> ModelUnreadable:
    return ModelUnreadable(wanted=f"a readable Keras file {path.name}", found=problem, fix=_AGAIN)
