from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest

from tasks.domain.errors import ArchiveRefused, ModelRefused, ModelUnreadable
from tasks.tensorflow.preflight.keras_config import check_config, check_h5, check_keras


def _layer(**changes: Any) -> dict[str, Any]:
    dense = {"class_name": "Dense", "module": "keras.layers", "config": {"name": "odd"}} | changes
    plain = {"class_name": "Dense", "module": "keras.layers", "config": {"name": "plain"}}
    layers = {"name": "net", "layers": [plain, dense]}
    return {"class_name": "Sequential", "module": "keras", "config": layers}


def test_plain_layers_pass() -> None:
    check_config(_layer())
    check_config(_layer(module=None))
    check_config(_layer(module="keras.src.layers.core.dense"))


@pytest.mark.parametrize(
    "changes",
    [
        {"class_name": "Lambda"},
        {"class_name": "Lambda", "module": None},
        {"class_name": "layers.Lambda", "module": "keras"},
        {"class_name": "datasets.mnist.load_data", "module": "keras"},
        {"class_name": "load_data", "module": "keras.datasets.mnist"},
        {"class_name": "get_file", "module": "keras.utils"},
        {"class_name": "load_model", "module": "keras.models"},
        {"class_name": "ResNet50", "module": "keras.applications.resnet50"},
        {"class_name": "open", "module": "builtins"},
        {"class_name": "Plain", "module": "keras.layers", "registered_name": "Lambda"},
        {"class_name": "Plain", "module": "keras.layers", "registered_name": "Custom>Lambda"},
        {
            "config": {
                "name": "odd",
                "activation": {"class_name": "function", "module": "builtins", "config": "open"},
            }
        },
        {
            "config": {
                "name": "odd",
                "activation": {
                    "class_name": "function",
                    "module": "keras.src.losses",
                    "config": "deserialize_keras_object",
                },
            }
        },
        {"config": {"name": "odd", "function": ["4wEAAA==", None, None], "function_type": "lambda"}},
        {"config": {"name": "odd", "activation": {"class_name": "__lambda__", "config": {"value": "4wEA"}}}},
        {
            "config": {
                "name": "odd",
                "activation": {"class_name": "function", "module": "os", "config": "system"},
            }
        },
    ],
)
def test_code_is_refused_and_its_layer_named(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelRefused, match="layer odd with Python code"):
        check_config(_layer(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"module": "company.layers", "class_name": "Attention", "registered_name": "company>Attention"},
        {"module": None, "class_name": "Attention", "registered_name": "company>Attention"},
        {"module": "kerasevil", "class_name": "Dense"},
        {"module": None, "class_name": "Squash", "registered_name": "Squash"},  # of a notebook
        {"module": None, "class_name": "company>Squash"},  # in files of Keras 2
    ],
)
def test_layers_of_strangers_are_named(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelUnreadable, match="layer odd of the class"):
        check_config(_layer(**changes))


@pytest.mark.parametrize(
    "symbol", ["math.multiply", "nn.relu", "__operators__.getitem", "compat.v1.squeeze", "keras.backend.sum"]
)
def test_layers_that_call_tensorflow_to_compute_pass(symbol: str) -> None:
    check_config(_layer(class_name="TFOpLambda", module=None, config={"name": "odd", "function": symbol}))


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("TFOpLambda", {"function": "io.gfile.remove"}),
        ("SlicingOpLambda", {"function": "math.multiply; load_library"}),
        ("ClassMethod", {"cls_symbol": "Module", "method_name": "with_name_scope"}),
        ("InstanceMethod", {"attr_name": "__class__"}),
    ],
)
def test_layers_that_call_anything_else_are_refused(kind: str, config: dict[str, Any]) -> None:
    with pytest.raises(ModelRefused, match=rf"layer odd \({kind}\), which calls tf\."):
        check_config(_layer(class_name=kind, config={"name": "odd"} | config))


def test_an_h5_file_called_keras_is_checked_as_what_it_is(tmp_path: Path) -> None:
    """Until 2.12, Keras wrote HDF5 under both names."""
    path = tmp_path / "model.keras"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(_layer(class_name="Lambda"))
    with pytest.raises(ModelRefused, match="Python code"):
        check_keras(path)


def test_weights_that_lie_elsewhere_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
        file.create_group("layers")["stolen"] = h5py.ExternalLink("/etc/other.h5", "/weights")
    with pytest.raises(ModelRefused, match=r"a link to /etc/other\.h5"):
        check_h5(path)
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
        file.create_dataset("stolen", (16,), "u1", external=[("/etc/hostname", 0, 16)])
    with pytest.raises(ModelRefused, match="/stolen, whose data lies in another file"):
        check_h5(path)


def test_hostile_members_of_a_keras_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("config.json", "{}")
        packed.writestr("assets/../../evil", "x")
    with pytest.raises(ArchiveRefused, match=r"assets/\.\./\.\./evil"):
        check_keras(path)


def test_keras_files_without_their_parts_are_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("config.json", "{}")
    with pytest.raises(ModelUnreadable, match=r"model\.weights\.h5"):
        check_keras(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(ModelUnreadable, match="not a zip file"):
        check_keras(path)


def test_names_that_lead_in_circles_are_visited_once(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
        group = file
        for _ in range(60):  # two names for each group: 2^60 ways to the last one
            group = group.create_group("a")
            group.parent["b"] = group
        group["again"] = file["a"]
        group["soft"] = h5py.SoftLink("/nowhere")
    check_h5(path)


@pytest.mark.parametrize(
    "module", ["keras.activations", "keras.src.activations", "builtins", "keras.ops", None]
)
def test_functions_that_only_compute_pass(module: str | None) -> None:
    relu = {"class_name": "function", "module": module, "config": "relu", "registered_name": "relu"}
    check_config(_layer(config={"name": "odd", "activation": relu}))
