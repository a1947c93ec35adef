"""The values between the nodes of a graph, as onnxruntime computes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tasks.children.reference import Corner, write_reference
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.departure import InnerTensor
from tasks.onnx.graph import inner_values

LIMITS = Limits(memory_mib=2048)


def write_graph(folder: Path, kind: int = TensorProto.FLOAT) -> Path:
    """Write x -> double -> root -> y, with the size of x beside it, in an element type."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["double"], name="twice"),
        helper.make_node("Shape", ["double"], ["size"], name="size"),
        helper.make_node("Sqrt", ["double"], ["root"], name="rooted"),
        helper.make_node("Add", ["root", "two"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes, "graph",
        [helper.make_tensor_value_info("x", kind, ["N", 4])],
        [helper.make_tensor_value_info("y", kind, ["N", 4])],
        [numpy_helper.from_array(np.array(2, dtype), "two")],
    )  # fmt: skip
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def values_of(path: Path, x: np.ndarray, limits: Limits = LIMITS) -> dict[InnerTensor, np.ndarray]:
    smallest, another = Corner("min", {"x": x[:1]}, {}, {}), Corner("opt", {"x": x}, {}, {})
    write_reference(path.with_name("reference.npz"), [smallest, another])
    inner = asyncio.run(
        inner_values(
            path, path.with_name("reference.npz"), "opt", work=Workspace(folder=path.parent, limits=limits)
        )
    )
    assert inner.corner == "opt"
    with np.load(inner.file) as arrays:
        return {tensor: arrays[str(place)] for place, tensor in enumerate(inner.tensors)}


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_floats_between_the_nodes_in_their_order(tmp_path: Path, kind: int) -> None:
    x = np.arange(12, dtype=helper.tensor_dtype_to_np_dtype(kind)).reshape(3, 4)
    inner = values_of(write_graph(tmp_path, kind), x)
    assert list(inner) == [
        InnerTensor(tensor="double", node="twice", op="Mul"),
        InnerTensor(tensor="root", node="rooted", op="Sqrt"),
    ]
    double, root = inner.values()
    np.testing.assert_array_equal(double, 2 * x)
    np.testing.assert_array_equal(root, np.sqrt(2 * x.astype(np.float32)).astype(x.dtype))


@pytest.mark.parametrize("processors", [0, 64])
def test_of_more_than_fits_tensors_are_left_out_evenly(
    processors: int, have_processors: Callable[[int], None], tmp_path: Path
) -> None:
    """However many processors there are: NumPy's OpenBLAS would take 40 MiB for each."""
    have_processors(processors)
    x = np.zeros((4 << 20, 4), np.float32)  # 64 MiB a tensor, and an eighth of the memory for them
    inner = values_of(write_graph(tmp_path), x, Limits(memory_mib=800))
    assert [tensor.tensor for tensor in inner] == ["double"]
