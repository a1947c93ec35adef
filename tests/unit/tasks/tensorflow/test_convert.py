from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from tasks.children.compare import compare_outputs
from tasks.children.reference import read_reference
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import (
    ModelRefused,
    ModelUnreadable,
    OperationUnsupported,
    RequestInvalid,
    SignatureUnknown,
)
from tasks.domain.record import WEIGHTS_FILE, TensorSpec
from tasks.domain.release import ModelFormat
from tasks.domain.request import ShapeRange
from tasks.tensorflow.models import (
    ConversionWanted,
    Converted,
    LocalModel,
    conversion_tools,
    convert_saved_model,
    export_saved_model,
)
from tests.support.rounding import beyond_rounding

_BATCHES = {"min": 1, "opt": 8, "max": 32}


@pytest.fixture(scope="module")
def many(models: Path, tmp_path_factory: pytest.TempPathFactory, limits: Limits) -> Path:
    """The sanitised SavedModel with many signatures."""
    model = LocalModel(format=ModelFormat.SAVED_MODEL, path=models / "many")
    return asyncio.run(
        export_saved_model(model, work=Workspace(folder=tmp_path_factory.mktemp("many"), limits=limits))
    )


def _wanted(
    signature: str | None = None, samples: Path | None = None, shapes: dict[str, ShapeRange] | None = None
) -> ConversionWanted:
    return ConversionWanted(signature=signature, shapes=shapes or {}, opset=17, samples=samples)


def _convert(folder: Path, wanted: ConversionWanted, workdir: Path, limits: Limits) -> Converted:
    return asyncio.run(convert_saved_model(folder, wanted, work=Workspace(folder=workdir, limits=limits)))


def _comparisons(converted: Converted) -> list[dict[str, Any]]:
    """Run the graph without optimisations on every corner, and compare it with TensorFlow."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(converted.onnx), options, ["CPUExecutionProvider"])
    assert {value.name for value in session.get_inputs()} == {spec.name for spec in converted.inputs}
    names = [value.name for value in session.get_outputs()]
    assert set(names) == {spec.name for spec in converted.outputs}
    corners = read_reference(converted.reference)
    assert [corner.name for corner in corners] == list(_BATCHES)
    rows = []
    for corner in corners:
        for name, shape in converted.shapes.items():
            assert corner.inputs[name].shape == shape.corners[corner.name]
        answers = dict(zip(names, session.run(names, corner.inputs), strict=True))
        rows += compare_outputs(corner.name, corner.outputs, answers, corner.noise)
    return rows


# The flows convert `.keras` files, too.
@pytest.mark.parametrize("name", ["two.h5", pytest.param("two.keras", marks=pytest.mark.slow)])
def test_keras_files_keep_their_names_and_their_numbers(
    models: Path, tmp_path: Path, limits: Limits, name: str
) -> None:
    form = ModelFormat.KERAS if name.endswith("keras") else ModelFormat.H5
    before = (models / name).read_bytes()
    folder = asyncio.run(
        export_saved_model(
            LocalModel(format=form, path=models / name), work=Workspace(folder=tmp_path, limits=limits)
        )
    )
    image = np.random.default_rng(1).random((3, 8, 8, 3), dtype=np.float32)
    np.savez(tmp_path / "samples.npz", zebra=image)
    converted = _convert(folder, _wanted(samples=tmp_path / "samples.npz"), tmp_path, limits)
    assert converted.signature == "serving_default"
    assert converted.inputs == (
        TensorSpec(name="apple", dtype="float32", shape=(None, 5)),
        TensorSpec(name="zebra", dtype="float32", shape=(None, 8, 8, 3)),
    )
    assert [spec.name for spec in converted.outputs] == ["amount", "scores"]
    assert set(converted.derived_shapes) == {"apple", "zebra"}
    assert beyond_rounding(_comparisons(converted)) == []
    corner = read_reference(converted.reference)[1]
    np.testing.assert_array_equal(corner.inputs["zebra"][3:6], image)
    assert all(0 <= noise < 1e-5 for noise in corner.noise.values())
    assert "release's samples" in converted.samples_used
    assert "drawn numbers (seed 0): apple standard normal" in converted.samples_used
    assert set(converted.seconds) == {"load", "convert", "reference", "total"}
    assert converted.peak_mib > 100
    assert (models / name).read_bytes() == before


@pytest.mark.slow
def test_exact_gelu_converts(many: Path, tmp_path: Path, limits: Limits) -> None:
    given = {"x": ShapeRange(min=(2, 3), opt=(4, 3), max=(6, 3))}
    converted = _convert(many, _wanted(signature="gelu", shapes=given), tmp_path, limits)
    assert converted.shapes == given
    assert converted.derived_shapes == ()
    assert converted.samples_used == "drawn numbers (seed 0): x standard normal"
    assert beyond_rounding(_comparisons(converted)) == []


def test_channels_first_have_answers_of_tensorflow(many: Path, tmp_path: Path, limits: Limits) -> None:
    """Of TensorFlow's kernels for processors, only oneDNN's take them."""
    converted = _convert(many, _wanted("channels_first"), tmp_path, limits)
    assert beyond_rounding(_comparisons(converted)) == []


@pytest.mark.slow
def test_loops_branches_and_unread_inputs_convert(many: Path, tmp_path: Path, limits: Limits) -> None:
    converted = _convert(many, _wanted("loop"), tmp_path, limits)
    assert [spec.name for spec in converted.inputs] == ["spare", "x"]
    assert beyond_rounding(_comparisons(converted)) == []


def test_integer_inputs_are_not_mixed_up_and_have_no_noise(
    many: Path, tmp_path: Path, limits: Limits
) -> None:
    samples = tmp_path / "samples.npz"
    np.savez(samples, left=np.full((1, 4), 7, np.int64), right=np.full((1, 4), 2, np.int64))
    converted = _convert(many, _wanted(signature="minus", samples=samples), tmp_path, limits)
    corner = read_reference(converted.reference)[0]
    assert corner.outputs["difference"].tolist() == [[5, 5, 5, 5]]
    assert corner.noise == {"difference": 0.0, "total": 0.0}
    assert [row["max_abs"] for row in _comparisons(converted)] == [0.0] * 6


@pytest.mark.slow
def test_large_weights_are_beside_a_graph_that_is_as_simple_as_with_small_ones(
    models: Path, tmp_path: Path, limits: Limits
) -> None:
    converted = _convert(models / "heavy", _wanted(), tmp_path, limits)
    assert beyond_rounding(_comparisons(converted)) == []
    assert converted.weights == converted.onnx.with_name(WEIGHTS_FILE)
    assert sorted(path.name for path in converted.onnx.parent.iterdir()) == ["model.onnx", WEIGHTS_FILE]
    graph = onnx.load(converted.onnx, load_external_data=False).graph
    counts = Counter(node.op_type for node in graph.node)
    # What follows from weights alone was computed: casts, moments, parts, sums.
    assert {"Cast", "Sqrt", "Split", "Slice", "ReduceMean", "ReduceSum"} & counts.keys() <= {"ReduceSum"}
    assert (counts["ReduceSum"], counts["Conv"], counts["Gather"], counts["Loop"]) == (1, 1, 1, 1)
    large = {tuple(tensor.dims): tensor for tensor in graph.initializer if tensor.external_data}
    assert {(600, 64), (64, 600), (160, 160), (32, 64, 3, 3), (64, 288), (64, 576)} <= large.keys()
    assert all(len(tensor.raw_data) < 1 << 16 for tensor in graph.initializer)
    assert not any(tensor.raw_data for tensor in large.values())


def test_left_over_operations_are_named(many: Path, tmp_path: Path, limits: Limits) -> None:
    with pytest.raises(OperationUnsupported, match=r"MatrixInverse \(node .*MatrixInverse\)"):
        _convert(many, _wanted(signature="inverse"), tmp_path, limits)
    assert not list(tmp_path.rglob("*.onnx"))


@pytest.mark.parametrize(
    ("signature", "error", "words"),
    [
        (
            None,
            SignatureUnknown,
            "channels_first, counts, factor, gelu, inverse, loop, minus, noisy, open, strings",
        ),
        ("strings", ModelRefused, "input text of strings"),
        ("noisy", ModelRefused, "RandomStandardNormal"),
        ("counts", ModelRefused, "AssignAddVariableOp"),
        ("open", RequestInvalid, "dimension 1 of input x"),
    ],
)
def test_refused_before_the_model_is_loaded(
    *, many: Path, tmp_path: Path, limits: Limits, signature: str | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        _convert(many, _wanted(signature=signature), tmp_path, limits)


def test_a_corner_that_the_model_refuses_is_named(many: Path, tmp_path: Path, limits: Limits) -> None:
    shapes = {
        "left": ShapeRange(min=(1, 4), opt=(2, 4), max=(3, 4)),
        "right": ShapeRange(min=(1, 4), opt=(2, 4), max=(4, 4)),
    }
    with pytest.raises(RequestInvalid, match=r"corner max: left \(3, 4\), right \(4, 4\)"):
        _convert(many, _wanted(signature="minus", shapes=shapes), tmp_path, limits)


def test_truncated_variables_are_unreadable(many: Path, tmp_path: Path, limits: Limits) -> None:
    folder = tmp_path / "saved_model"
    shutil.copytree(many, folder)
    data = folder / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:20])
    with pytest.raises(ModelUnreadable, match="a SavedModel that TensorFlow"):
        _convert(folder, _wanted(signature="gelu"), tmp_path, limits)


def test_versions_of_the_tools_are_told() -> None:
    tools = conversion_tools()
    assert {"tensorflow-cpu", "keras", "tf2onnx", "onnx"} <= set(tools)
    own = tools.pop("enginefarm-conversion")
    assert int(own, 16) > 0
    assert all(version[0].isdigit() for version in tools.values())
