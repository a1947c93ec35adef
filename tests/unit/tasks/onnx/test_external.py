"""Weights beside the graph: the same lowering, checked, run by onnxruntime and built by TensorRT-RTX."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from tasks.children.reference import Corner, write_reference
from tasks.children.run import Limits
from tasks.children.weights import opened, save
from tasks.children.workspace import Workspace
from tasks.domain.errors import ModelRefused
from tasks.domain.record import WEIGHTS_FILE
from tasks.domain.request import Precision
from tasks.onnx.graph import GraphWanted, LoweredGraph, compare_graph, lower_graph

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]

LIMITS = Limits(memory_mib=4096)


@pytest.fixture(scope="module")
def dense(parse: Parse) -> onnx.ModelProto:
    """Two large weights, one of them read twice and once transposed, and a small one."""
    rng = np.random.default_rng(3)
    return parse(
        """
        dense (float[n, 256] x) => (float[n, 256] y, float[n, 256] z) {
            same = Identity (x)
            a = MatMul (same, first)
            b = Add (a, bias)
            c = Relu (b)
            y = MatMul (c, second)
            turned = Transpose <perm = [1, 0]> (second)
            z = MatMul (y, turned)
        }
        """,
        first=rng.normal(size=(256, 256)).astype(np.float32) / 16,
        second=rng.normal(size=(256, 256)).astype(np.float32) / 16,
        bias=rng.normal(size=256).astype(np.float32),
    )


@pytest.fixture(scope="module")
def raw(dense: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph with external data, as the conversion writes it."""
    folder = tmp_path_factory.mktemp("work") / "raw"  # in a run's own folder, where children may write
    folder.mkdir()
    onnx.save(dense, folder / "inner.onnx")
    (folder / "own").mkdir()
    with opened(folder / "inner.onnx") as (model, _):
        assert save(model, folder / "own" / "model.onnx", one_file=0) == folder / "own" / WEIGHTS_FILE
    return folder / "own" / "model.onnx"


def lower(raw: Path, workdir: Path, precision: Precision, one_file: int) -> LoweredGraph:
    wanted = GraphWanted(precision=precision, opset=17)
    return asyncio.run(
        lower_graph(raw, wanted, work=Workspace(folder=workdir, limits=LIMITS), one_file=one_file)
    )


@pytest.fixture(scope="module", params=[Precision.FP32, Precision.FP16])
def pair(raw: Path, request: pytest.FixtureRequest) -> tuple[LoweredGraph, LoweredGraph]:
    """The same graph with external data and as one file."""
    beside, single = (lower(raw, raw.parent.parent, request.param, limit) for limit in (0, 1 << 30))
    return beside, single


def test_weights_lie_beside_the_graph_aligned_and_once(
    pair: tuple[LoweredGraph, LoweredGraph], raw: Path
) -> None:
    beside, single = pair
    assert beside.weights == beside.onnx.with_name(WEIGHTS_FILE)
    assert single.weights is None
    assert sorted(path.name for path in beside.onnx.parent.iterdir()) == ["model.onnx", WEIGHTS_FILE]
    assert [path.name for path in single.onnx.parent.iterdir()] == ["model.onnx"]
    assert sorted(path.name for path in raw.parent.iterdir()) == ["model.onnx", WEIGHTS_FILE]
    tensors = onnx.load(beside.onnx, load_external_data=False).graph.initializer
    where = [{entry.key: entry.value for entry in tensor.external_data} for tensor in tensors]
    assert [bool(reference) for reference in where] == [len(tensor.dims) == 2 for tensor in tensors]
    ranges = sorted((int(reference["offset"]), int(reference["length"])) for reference in where if reference)
    assert {reference["location"] for reference in where if reference} == {WEIGHTS_FILE}
    assert all(offset % 4096 == 0 for offset, _ in ranges)
    assert sum(ranges[-1]) == beside.weights.stat().st_size


def test_one_file_and_two_files_are_the_same_graph(pair: tuple[LoweredGraph, LoweredGraph]) -> None:
    beside, single = pair
    assert beside.nodes == single.nodes
    large, other = (onnx.load(graph.onnx).graph for graph in pair)
    assert [node.op_type for node in large.node] == [node.op_type for node in other.node]
    weights = [
        sorted(numpy_helper.to_array(t).tobytes() for t in graph.initializer) for graph in (large, other)
    ]
    assert weights[0] == weights[1]
    onnx.checker.check_model(str(beside.onnx), full_check=True)


def test_onnxruntime_and_tensorrt_read_it(
    pair: tuple[LoweredGraph, LoweredGraph],
    dense: onnx.ModelProto,
    run_graph: Run,
    build_rtx: Callable[[Path, tuple[int, ...]], dict[str, Any]],
    tmp_path: Path,
) -> None:
    beside, _ = pair
    x = np.random.default_rng(4).normal(size=(2, 256)).astype(np.float32)
    y, z = run_graph(dense, {"x": x})
    write_reference(
        tmp_path / "r.npz", [Corner("opt", {"x": x}, {"y": y, "z": z}, dict.fromkeys("yz", 1e-7))]
    )
    rows = asyncio.run(
        compare_graph(beside.onnx, tmp_path / "r.npz", work=Workspace(folder=tmp_path, limits=LIMITS))
    )
    assert [row.output for row in rows] == ["y", "z"]
    assert all(row.relative < 2e-3 for row in rows)
    assert build_rtx(beside.onnx, (256,))["bytes"] > 256 * 256 * 2


def test_large_weights_stay_references_while_a_graph_is_open(raw: Path) -> None:
    with opened(raw) as (model, _):
        assert model.ByteSize() < 1 << 14
        first = next(tensor for tensor in model.graph.initializer if tensor.name == "first")
        assert numpy_helper.to_array(first).shape == (256, 256)
    assert not list(raw.parent.glob("scratch-*"))


_ELSEWHERE = [
    ("/etc/hostname", "0", "4"),
    ("../weights.bin", "0", "262144"),
    ("other.bin", "0", "262144"),
    ("./weights.bin", "0", "262144"),
    (WEIGHTS_FILE, "4096", "262144000"),
    (WEIGHTS_FILE, "-4096", "262144"),
    (WEIGHTS_FILE, "0", "many"),
]


@pytest.mark.parametrize(
    ("location", "offset", "length", "inside"),
    [(*where, False) for where in _ELSEWHERE]
    # A constant in a branch is no weight: there, even the right place is refused.
    + [(*where, True) for where in (*_ELSEWHERE, (WEIGHTS_FILE, "0", "262144"))],
)
def test_nothing_but_the_file_beside_it_is_read(
    *, raw: Path, tmp_path: Path, location: str, offset: str, length: str, inside: bool
) -> None:
    model = onnx.load(raw, load_external_data=False)
    tensor = TensorProto(name="w", data_type=1, dims=[256, 256], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=value)
    if inside:
        branch = model.graph.node.add(op_type="If").attribute.add(type=onnx.AttributeProto.GRAPH).g
        branch.node.add(op_type="Constant").attribute.add(type=onnx.AttributeProto.TENSOR, t=tensor)
    else:
        model.graph.initializer.append(tensor)
    (tmp_path / WEIGHTS_FILE).write_bytes((raw.parent / WEIGHTS_FILE).read_bytes())
    (tmp_path / "other.bin").write_bytes(b"secret")
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelRefused, match=WEIGHTS_FILE), opened(tmp_path / "model.onnx"):
        pass


def test_a_weights_file_that_is_a_link_is_refused(raw: Path, tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_FILE).symlink_to(raw.parent / WEIGHTS_FILE)
    (tmp_path / "model.onnx").write_bytes(raw.read_bytes())
    with pytest.raises(ModelRefused, match=f"{WEIGHTS_FILE}, a link to"):
        lower(tmp_path / "model.onnx", tmp_path, Precision.FP32, 0)
