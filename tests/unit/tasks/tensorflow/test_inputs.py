"""Every form, type and name that a release may have: what becomes of it, at all three corners."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.rounding import beyond_rounding

EXACT, ROUNDED = False, True
TYPES = ("int8", "int16", "int32", "int64", "uint8", "bool", "float16", "float64")
# Inputs and outputs as the model calls them, and whether rounding may change its numbers.
MODELS: dict[str, tuple[list[str], list[str], bool]] = {
    **{f"type_{name}": (["a"], ["half", "same"], EXACT) for name in TYPES},
    "names": (["left", "right"], ["boxes/raw", "scores:0", "Ünits"], ROUNDED),
    "names_twice": (["boxes", "scores"], ["boxes_out_out", "boxes_out", "scores_out"], ROUNDED),
    "names_of_keras": (
        ["class", "größe: 5", "my input"],
        ["inner/list/0", "inner/list/1", "inner/sum", "plain"],
        ROUNDED,
    ),
    "captured_constant": (["a"], ["y"], ROUNDED),
    "suppression": (["a", "b"], ["kept"], EXACT),
    "lstm": (["a"], ["lstm"], ROUNDED),
    "gru": (["a"], ["gru"], ROUNDED),
    "masked_both_ways": (["a"], ["bidirectional"], ROUNDED),
    "any_picture": (["a"], ["conv2d"], ROUNDED),
    "mixed_float16": (["a"], ["dense_1"], ROUNDED),
    "mixed_bfloat16": (["a"], ["dense_3"], ROUNDED),
    "attention": (["a"], ["layer_normalization"], ROUNDED),
    "shared_layer": (["one", "two"], ["score", "score_1"], ROUNDED),
    "subclassed_called": (["inputs"], ["output_0"], ROUNDED),
    "module_with_a_call": (["a"], ["output_0"], ROUNDED),
    "tensorflow_1_estimator": (["x"], ["class", "scores"], ROUNDED),
    "tensorflow_1_table": (["x"], ["key", "scores"], ROUNDED),
    "tensorflow_1_for_a_gpu": (["x"], ["scores"], ROUNDED),
    "keras_2_saved_model": (["frames"], ["conv_lst_m2d_2"], ROUNDED),
    "keras_2": (["frames"], ["conv_lstm2d"], ROUNDED),
}
REFUSED = {
    "upsampling_without_size": ("ModelRefused", "in layer grow (UpSampling2D)", "fixed size"),
    "stateful": ("ModelRefused", "AssignVariableOp (layer functional", "no stateful=True"),
    "subclassed_never_called": ("SignatureUnknown", "without signatures", "call a Keras model once"),
    "module_without_a_signature": ("SignatureUnknown", "without signatures", "input_signature="),
    "no_onnx_form": ("OperationUnsupported", "/whiten_", "outside the engine"),
}
pytestmark = pytest.mark.slow
# What the farm or TensorRT-RTX says to the others leads to the way out.
ENGINES = {
    "suppression": "TensorRT-RTX has no non-maximum suppression",
}


@pytest.fixture(scope="module")
def forms(convert_functions: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What became of every model, by name."""
    return convert_functions("input_forms.py")


def test_every_model_is_here(forms: dict[str, Any]) -> None:
    assert {*forms} == {*MODELS, *REFUSED}


@pytest.mark.parametrize("name", MODELS)
def test_it_keeps_its_names_and_its_numbers(forms: dict[str, Any], name: str) -> None:
    inputs, outputs, rounded = MODELS[name]
    answer = forms[name]
    assert "error" not in answer
    assert [spec["name"] for spec in answer["plan"]["inputs"]] == inputs
    assert [spec["name"] for spec in answer["plan"]["outputs"]] == outputs
    rows = answer["comparisons"]
    corners = ("min", "opt", "max", "odd") if name == "any_picture" else ("min", "opt", "max")
    # Where TensorFlow answered a single row, it was asked `again` with other numbers.
    asked = [row for row in rows if row["corner"] != "again"]
    assert {(corner, row["output"]) for row in asked for corner in row["corner"].split("/")} == {
        (corner, output) for corner in corners for output in outputs
    }
    assert beyond_rounding(rows) == []
    assert rounded or max(row["relative"] for row in rows) == 0


@pytest.mark.parametrize("name", TYPES)
def test_an_input_keeps_its_type(forms: dict[str, Any], name: str) -> None:
    plan = forms[f"type_{name}"]["plan"]
    assert {spec["name"]: spec["dtype"] for spec in (*plan["inputs"], *plan["outputs"])} == {
        "a": name, "same": name, "half": "float32",
    }  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_it_becomes_an_engine_or_the_error_says_how(forms: dict[str, Any], name: str) -> None:
    if name in ENGINES:
        assert ENGINES[name] in forms[name]["engine"]
    else:
        assert forms[name]["engine"] == "built"


def test_a_file_of_keras_2_is_loaded_by_keras_2(forms: dict[str, Any]) -> None:
    assert re.fullmatch(r"tf-keras \S+ for a file of Keras 2\.21\.0", forms["keras_2"]["plan"]["loaded_by"])
    assert forms["lstm"]["plan"]["loaded_by"].startswith("Keras 3.")
    assert forms["captured_constant"]["plan"]["loaded_by"] == ""


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_become_an_engine_is_refused_with_the_way_out(forms: dict[str, Any], name: str) -> None:
    error, message, fix = REFUSED[name]
    assert forms[name]["error"]["class"] == error
    assert message in forms[name]["error"]["found"]
    assert fix in forms[name]["error"]["fix"]
