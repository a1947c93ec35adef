"""Lowering and comparison as the farm calls them: in child processes, on files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from tasks.children.reference import Corner, read_reference, write_reference
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import OperationUnsupported, VerificationFailed
from tasks.domain.gpu_table import graph_opset
from tasks.domain.request import Precision
from tasks.onnx import lower_child
from tasks.onnx.graph import GraphWanted, LoweredGraph, compare_graph, lower_graph
from tasks.onnx.structure import interface
from tests.support.rounding import beyond_rounding, noise_of

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]

LIMITS = Limits(memory_mib=4096)


def lower(raw: Path, precision: Precision) -> LoweredGraph:
    wanted = GraphWanted(precision=precision, opset=graph_opset(17, precision))
    return asyncio.run(lower_graph(raw, wanted, work=Workspace(folder=raw.parent, limits=LIMITS)))


def reference_for(model: onnx.ModelProto, run_graph: Run, path: Path) -> Path:
    def compute(inputs: Arrays) -> Arrays:
        (scores,) = run_graph(model, inputs)
        return {"scores": scores}

    rng = np.random.default_rng(11)
    corners = []
    for name, batch in (("min", 1), ("opt", 2), ("max", 5)):
        inputs: Arrays = {"image": rng.normal(size=(batch, 3, 8, 8)).astype(np.float32)}
        corners.append(Corner(name, inputs, compute(inputs), noise_of(compute, inputs)))
    write_reference(path, corners)
    return path


def test_fp32_is_simplified_and_equals_the_original(
    network: onnx.ModelProto, network_file: Path, run_graph: Run
) -> None:
    lowered = lower(network_file, Precision.FP32)
    assert (lowered.nodes_before, lowered.nodes) == (8, 6)
    assert lowered.seconds > 0
    assert 20 < lowered.peak_mib < 4096
    assert interface(onnx.load(lowered.onnx).graph) == interface(network.graph)
    reference = reference_for(network, run_graph, network_file.with_name("reference.npz"))
    rows = asyncio.run(
        compare_graph(lowered.onnx, reference, work=Workspace(folder=network_file.parent, limits=LIMITS))
    )
    assert [(row.corner, row.output) for row in rows] == [(c, "scores") for c in ("min", "opt", "max")]
    assert beyond_rounding(map(asdict, rows)) == []
    assert [row.noise for row in rows] == [corner.noise["scores"] for corner in read_reference(reference)]
    assert all(row.noise > 0 and row.top1 == 1 for row in rows)


@pytest.mark.parametrize(
    ("precision", "error", "carrier"), [(Precision.FP16, 5e-3, "HALF"), (Precision.BF16, 4e-2, "BF16")]
)
def test_low_graphs_are_close_to_the_original_and_build_in_tensorrt_rtx(
    precision: Precision,
    error: float,
    carrier: str,
    network: onnx.ModelProto,
    network_file: Path,
    run_graph: Run,
    build_rtx: Callable[[Path, tuple[int, ...]], dict[str, Any]],
) -> None:
    lowered = lower(network_file, precision)
    reference = reference_for(network, run_graph, network_file.with_name("reference.npz"))
    rows = asyncio.run(
        compare_graph(lowered.onnx, reference, work=Workspace(folder=network_file.parent, limits=LIMITS))
    )
    assert all(0 < row.relative < error for row in rows)
    built = build_rtx(lowered.onnx, (3, 8, 8))
    assert built["bytes"] > 1000
    assert built["types"].count(carrier) >= 5
    assert built["inputs"] == built["outputs"] == ["DataType.FLOAT"]


def test_inputs_are_given_in_the_types_that_the_graph_wants(parse: Parse, tmp_path: Path) -> None:
    onnx.save(
        parse("g (float16[n] x, int32[n] i) => (float16[n] y) { f = Cast <to = 10> (i) y = Add (x, f) }"),
        tmp_path / "g.onnx",
    )
    inputs: Arrays = {"x": np.array([1.5, 2], np.float32), "i": np.array([1, 2], np.int64)}
    corner = Corner("opt", inputs, {"y": np.array([2.5, 4], np.float32)}, {"y": 0.0})
    write_reference(tmp_path / "r.npz", [corner])
    (row,) = asyncio.run(
        compare_graph(tmp_path / "g.onnx", tmp_path / "r.npz", work=Workspace(folder=tmp_path, limits=LIMITS))
    )
    assert row.max_abs == 0


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"image": np.zeros((1, 3, 9, 8), np.float32)}, "image [1, 3, 9, 8]"),
        ({"picture": np.zeros((1, 3, 8, 8), np.float32)}, "values for picture"),
    ],
)
def test_a_graph_that_does_not_run_fails_verification(inputs: Arrays, says: str, network_file: Path) -> None:
    reference = network_file.with_name("reference.npz")
    write_reference(reference, [Corner("opt", inputs, {"scores": np.zeros((1, 5))}, {"scores": 0.0})])
    with pytest.raises(VerificationFailed) as caught:
        asyncio.run(
            compare_graph(network_file, reference, work=Workspace(folder=network_file.parent, limits=LIMITS))
        )
    assert says in str(caught.value)
    assert len(str(caught.value)) < 1500
    assert list(network_file.parent.glob("child-*")) == []


def run_in_place(model: onnx.ModelProto, folder: Path, precision: str) -> dict[str, Any]:
    onnx.save(model, folder / "raw.onnx")
    paths = {"raw": str(folder / "raw.onnx"), "lowered": str(folder / "lowered.onnx")}
    return lower_child.main(
        paths | {"precision": precision, "opset": 17, "one_file": 1 << 30}, lambda *_: None
    )


def test_an_unknown_operation_is_refused_by_name(parse: Parse, tmp_path: Path) -> None:
    model = parse("g (float[n] x) => (float[n] y) { y = Relu (x) }")
    model.graph.node[0].op_type = "MatrixInverse"
    with pytest.raises(OperationUnsupported, match="MatrixInverse"):
        run_in_place(model, tmp_path, "fp32")


def test_types_that_contradict_each_other_are_refused(parse: Parse, tmp_path: Path) -> None:
    model = parse("g (float[n] x) => (float[n] y) { y = Relu (x) }")
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    with pytest.raises(OperationUnsupported, match="y"):
        run_in_place(model, tmp_path, "fp16")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_outputs_that_are_inputs_or_constants_keep_their_names(
    parse: Parse, run_graph: Run, tmp_path: Path, precision: str
) -> None:
    model = parse(
        """
        g (float[n] x, float[n] unused) => (float[n] y, float[2] c, float[n] z, float[n] again) {
            y = Identity (x)
            c = Add (one, one)
            z = Relu (x)
            again = Identity (z)
        }
        """,
        one=np.ones(2, np.float32),
    )
    run_in_place(model, tmp_path, precision)
    lowered = onnx.load(tmp_path / "lowered.onnx")
    assert interface(lowered.graph) == interface(model.graph)
    feeds = {"x": np.array([1, -2], np.float32), "unused": np.zeros(2, np.float32)}
    for wanted, actual in zip(run_graph(model, feeds), run_graph(lowered, feeds), strict=True):
        np.testing.assert_array_equal(actual, wanted)
