"""The names in Keras that a file may have, against what Keras exports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.domain.errors import ModelRefused, ModelUnreadable
from tasks.tensorflow.preflight.keras_classes import CLASSES
from tasks.tensorflow.preflight.keras_config import check_config

# Prints each exported name of Keras, and whether it is a class; then what `CLASSES` must hold.
_EXPORTED = """
import inspect, json
import keras
from keras.src.api_export import REGISTERED_NAMES_TO_OBJS
from tests.support.keras_classes import main
print(json.dumps({name: inspect.isclass(what) for name, what in REGISTERED_NAMES_TO_OBJS.items()}))
main()
"""
_COMPUTING = ("activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers")
_CLASSES = (*_COMPUTING, "layers", "models", "optimizers", "dtype_policies", "quantizers", "random")
_CODE = {"Lambda", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "TFSMLayer"}


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """The lines that `_EXPORTED` prints."""
    command = [sys.executable, "-c", _EXPORTED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[5])
    return done.stdout.splitlines()[-2:]


@pytest.fixture(scope="module")
def exported(printed: list[str]) -> dict[str, bool]:
    """Every name that Keras exports, and whether it is a class."""
    names: dict[str, bool] = json.loads(printed[0])
    return names


def test_all_classes_that_layers_need_are_known_by_name(printed: list[str]) -> None:
    assert set(json.loads(printed[1])) <= CLASSES


@pytest.mark.parametrize(
    "module", ["keras", "keras.layers", "keras.src.layers.core.dense", "tf_keras.layers"]
)
def test_a_class_that_keras_has_not_is_refused_by_its_name(module: str) -> None:
    node = {"module": module, "class_name": "Backdoor", "config": {"name": "odd"}}
    with pytest.raises(ModelUnreadable, match=f"layer odd of the class Backdoor from {module}"):
        check_config({"class_name": "Sequential", "module": "keras", "config": {"layers": [node]}})


def _passes(module: str, name: str, *, kind: str | None = None) -> bool:
    """Return whether an object of this name may be in a file, as a class or (`kind`) as a function."""
    node = {"module": module, "class_name": kind or name, "config": {"name": "odd"} if kind is None else name}
    try:
        check_config({"class_name": "Sequential", "module": "keras", "config": {"layers": [node]}})
    except (ModelRefused, ModelUnreadable):
        return False
    return True


def test_classes_pass_and_functions_do_not_whatever_the_file_calls_them(exported: dict[str, bool]) -> None:
    """A class of a file is called with what the file says; a function might do anything."""
    for full, is_class in exported.items():
        module, _, name = full.rpartition(".")
        area = module.removeprefix("keras").lstrip(".").split(".")[0]
        passes = is_class and name[0].isupper() and area in {*_CLASSES, ""} and name not in _CODE
        passes &= name in CLASSES
        passes |= name == "Input" or (module.startswith("keras._legacy.l") and is_class)
        assert _passes(module, name) == passes, full
        package, _, rest = full.partition(".")
        assert _passes(package, rest) == passes, f"{full}, with dots in its name"
        computes = area in _COMPUTING and name not in {"get", "deserialize", "serialize"}
        assert _passes(module, name, kind="function") == computes, full
