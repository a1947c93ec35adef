"""The reference of an ONNX release: onnxruntime's answers at each corner, with their noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tasks.children.reference import read_reference
from tasks.domain.errors import OperationUnsupported, RequestInvalid, SignatureUnknown
from tasks.onnx_release.answer_child import main


def _request(tmp_path: Path, **wanted: Any) -> dict[str, Any]:
    """Return the request for a graph that looks up rows of a table of 11, in opset 20."""
    table = numpy_helper.from_array(np.random.default_rng(5).normal(size=(11, 6)).astype(np.float32), "table")
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["rows"]), helper.make_node("Tanh", ["rows"], ["y"])],
        "lookup",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length", 6])],
        [table],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    sizes = {"min": [1, 2], "opt": [4, 6], "max": [8, 10]}
    defaults: dict[str, Any] = {
        "onnx": str(tmp_path / "model.onnx"),
        "reference": str(tmp_path / "reference.npz"),
        "samples": None,
        "signature": None,
        "opset": 20,
        "shapes": {"ids": sizes},
        "profiles": [],
    }
    return defaults | wanted


def test_onnxruntime_answers_at_each_corner_with_noise_of_moved_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = main(_request(tmp_path), lambda _text, _part: None)
    corners = {corner.name: corner for corner in read_reference(tmp_path / "reference.npz")}
    assert {"min", "opt", "max", "odd"} <= corners.keys()
    assert corners["max"].outputs["y"].shape == (8, 10, 6)
    assert corners["max"].inputs["ids"].max() < 11
    assert 0 < corners["max"].noise["y"] < 1e-5
    assert answer["answered_by"].startswith("onnxruntime ")
    assert [spec["shape"] for spec in answer["inputs"]] == [(None, None)]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"opset": 19}, OperationUnsupported),
        ({"signature": "serving_default"}, SignatureUnknown),
        ({"shapes": {}}, RequestInvalid),
    ],
)
def test_what_the_graph_or_its_target_cannot_do_is_refused(
    tmp_path: Path, wanted: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        main(_request(tmp_path, **wanted), lambda _text, _part: None)
