"""What the preflight of ONNX releases refuses, without a child process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tasks.domain.errors import FarmError, ModelRefused, ModelUnreadable
from tasks.onnx_release.external import check_external
from tasks.onnx_release.graph_check import check_calls, check_contents, check_domains
from tasks.onnx_release.preflight_child import main

DATA = "weights/big.data"


def graph(op: str = "MatMul", domain: str = "", functions: tuple[onnx.FunctionProto, ...] = ()) -> ModelProto:
    """Return a model of one node with a weight in an external file."""
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    nodes = [helper.make_node(op, ["x", "w"], ["y"], domain=domain)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    made = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(made, opset_imports=opsets, ir_version=8, functions=functions)


def refer(model: ModelProto, **where: str) -> ModelProto:
    """Let the weight of `model` be where `where` says."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in where.items():
        tensor.external_data.add(key=key, value=value)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release's folder with external data of 64 bytes, and a link to it."""
    release = tmp_path / "release"
    (release / "weights").mkdir(parents=True)
    (release / DATA).write_bytes(np.eye(4, dtype=np.float32).tobytes())
    (release / "link.data").symlink_to(release / DATA)
    (tmp_path / "outside.data").write_bytes(bytes(64))
    return release


@pytest.mark.parametrize(
    "where",
    [
        {"location": "../outside.data"},
        {"location": "/etc/hostname"},
        {"location": "link.data"},
        {"location": "weights"},
        {"location": "weights//big.data"},
        {"location": "missing.data"},
        {"location": DATA, "offset": "4"},
        {"location": DATA, "offset": "-64"},
        {"location": DATA, "offset": "x"},
        {"location": DATA, "length": "32"},
        {},
    ],
    ids=str,
)
def test_external_data_outside_the_release_or_of_another_size_is_refused(
    folder: Path, where: dict[str, str]
) -> None:
    with pytest.raises(ModelRefused, match="w"):
        check_external(refer(graph(), **where), folder)


def test_external_data_in_an_attribute_is_refused(folder: Path) -> None:
    model = graph()
    value = numpy_helper.from_array(np.eye(4, dtype=np.float32), "c")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value=DATA)
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=value))
    with pytest.raises(ModelRefused, match="no weight of the graph"):
        check_external(model, folder)


def test_weights_that_overlap_in_their_file_are_refused(folder: Path) -> None:
    model = refer(graph(), location=DATA)
    part = model.graph.initializer.add()
    part.CopyFrom(numpy_helper.from_array(np.zeros(8, dtype=np.float32), "part"))
    part.ClearField("raw_data")
    part.data_location = TensorProto.EXTERNAL
    for key, text in {"location": DATA, "offset": "32"}.items():
        part.external_data.add(key=key, value=text)
    with pytest.raises(ModelRefused, match="overlap"):
        check_external(model, folder)


@pytest.mark.parametrize(
    ("op", "domain", "words"),
    [
        ("FusedMatMul", "com.microsoft", "com.microsoft.FusedMatMul"),
        ("LayerThing", "", "LayerThing"),
        ("RandomNormal", "", "random"),
    ],
)
def test_operations_that_onnx_does_not_define_are_refused_by_name(op: str, domain: str, words: str) -> None:
    with pytest.raises(ModelRefused, match=words):
        check_domains(graph(op, domain))


def test_recursion_and_functions_that_grow_without_bound_are_refused() -> None:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]

    def function(name: str, callee: str, times: int) -> onnx.FunctionProto:
        nodes = [helper.make_node(callee, ["a", "b"], [f"c{i}"], domain="own") for i in range(times)]
        return helper.make_function("own", name, ["a", "b"], ["c0"], nodes, opsets)

    with pytest.raises(ModelRefused, match="calls itself"):
        check_calls(graph("f", "own", (function("f", "f", 1),)))
    shadow = function("Relu", "f", 1)
    shadow.domain = ""
    with pytest.raises(ModelRefused, match="ONNX's own domain"):
        check_calls(graph("f", "own", (shadow,)))
    bomb = tuple(function(f"f{level}", f"f{level + 1}", 10) for level in range(9))
    with pytest.raises(ModelRefused, match="1000000000 nodes"):
        check_calls(graph("f0", "own", bomb))


def test_inputs_that_are_no_numbers_are_refused() -> None:
    model = graph()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    with pytest.raises(ModelRefused, match="no numbers"):
        check_contents(model)


def test_a_clean_copy_has_its_weights_in_one_file(folder: Path, tmp_path: Path) -> None:
    path, clean = folder / "model.onnx", tmp_path / "clean" / "model.onnx"
    path.write_bytes(refer(graph(), location=DATA).SerializeToString())
    answer = main({"path": str(path), "clean": str(clean)}, lambda _text, _part: None)
    assert answer["opset"] == 17
    (weight,) = onnx.load(clean).graph.initializer
    assert np.array_equal(numpy_helper.to_array(weight), np.eye(4, dtype=np.float32))


@pytest.mark.parametrize("data", [b"", b"no graph at all", b"\x08\x08"])
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    refusal: type[FarmError] = ModelUnreadable
    with pytest.raises(refusal):
        main({"path": str(tmp_path / "model.onnx"), "clean": str(tmp_path / "c" / "m")}, lambda _t, _p: None)
