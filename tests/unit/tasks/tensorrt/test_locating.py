"""Where a wrong engine leaves its graph, on a stand-in for a GPU: see `tests.stand_in.toolchain`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tasks.children.reference import Corner, write_reference
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.departure import Departure
from tasks.domain.request import Precision, ShapeRange
from tasks.domain.target import Flavour
from tasks.onnx.graph import inner_values
from tasks.tensorrt.engine import EngineJob
from tasks.tensorrt.inside.build import Session
from tasks.tensorrt.inside.locate import _Search, _Trial
from tasks.tensorrt.locating import locate_departure
from tasks.tensorrt.toolchain import Toolchain, probe_toolchain
from tests.stand_in.toolchain import StandIn
from tests.support.slow import cases

LIMITS = Limits(memory_mib=4096)
SHAPES = ShapeRange(min=(1, 3), opt=(2, 3), max=(4, 3))
OPS = ("Exp", "Neg", "Sigmoid", "Tanh", "Softplus", "Abs")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A chain of operations between x and y, and the reference: what NumPy answers at two corners."""
    names = ["x", *(op.lower() for op in OPS), "y"]
    nodes = [
        helper.make_node(op, [before], [after], name=f"node_{op}")
        for op, before, after in zip(OPS, names, names[1:], strict=False)
    ]
    nodes.append(helper.make_node("Add", [names[-2], "one"], ["y"], name="node_Add"))
    graph = helper.make_graph(
        nodes, "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.array(1, np.float32), "one")],
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    corners = []
    for name, batch in (("min", 1), ("opt", 2)):
        x = np.linspace(-1, 1, batch * 3, dtype=np.float32).reshape(batch, 3)
        y = np.abs(np.log1p(np.exp(np.tanh(1 / (1 + np.exp(np.exp(x))))))) + 1
        corners.append(Corner(name, {"x": x}, {"y": y}, {"y": 1e-7}))
    write_reference(path.with_name("reference.npz"), corners)
    return path


@pytest.fixture
def departure(case: Path, stand_in: Callable[..., StandIn], tmp_path: Path) -> Callable[..., Departure]:
    """A function that finds where engines of a stand-in that behaves in some way depart."""

    async def find(**behaviour: object) -> Departure:
        made = stand_in(version="8.6.0", **behaviour)
        toolchain = Toolchain(interpreter=str(made.interpreter), flavour=Flavour.TENSORRT)
        probe = await probe_toolchain(toolchain, work=Workspace(folder=tmp_path, limits=LIMITS))
        job = EngineJob(
            toolchain=probe.toolchain,
            target=probe.targets()[0],
            onnx=case,
            precision=Precision.FP32,
            shapes={"x": SHAPES},
            workspace_mib=64,
            optimization_level=3,
            gpu_index=0,
        )
        reference = case.with_name("reference.npz")
        inner = await inner_values(case, reference, "opt", work=Workspace(folder=tmp_path, limits=LIMITS))
        return await locate_departure(
            job, reference, inner, tolerance=1e-4, work=Workspace(folder=tmp_path, limits=LIMITS)
        )

    return lambda **behaviour: asyncio.run(find(**behaviour))


def test_a_node_that_is_wrong_by_itself_is_found_with_one_build(departure: Callable[..., Departure]) -> None:
    located = departure(wrong_at="Tanh", wrong=1.5)
    assert located.at is not None
    assert (located.at.tensor, located.at.node, located.at.op) == ("tanh", "node_Tanh", "Tanh")
    assert located.relative == pytest.approx(0.5, rel=1e-3)
    assert (located.corner, located.builds) == ("opt", 1)
    assert "departs at tanh of node node_Tanh (Tanh), 5.0e-01 off" in str(located)


@pytest.mark.parametrize("op", cases(OPS, slow=OPS[1:-1]))
def test_a_fusion_that_is_wrong_is_found_by_keeping_one_tensor_at_a_time(
    departure: Callable[..., Departure], op: str
) -> None:
    located = departure(wrong_at=op, wrong=1.5, fused=True)
    assert located.at is not None
    assert located.at.op == op
    assert located.relative is None
    assert 2 <= located.builds <= 4
    assert "correct if this is kept" in located.reason


def test_the_last_node_is_named_as_such(departure: Callable[..., Departure]) -> None:
    located = departure(wrong_at="Add", wrong=1.5)
    assert located.at is None
    assert located.builds == 1
    assert "in the last nodes" in located.reason
    assert "was not found" in str(located)


def test_an_engine_that_is_right_now_is_told_as_that(departure: Callable[..., Departure]) -> None:
    located = departure()
    assert located.at is not None
    assert "correct if this is kept" in located.reason


@pytest.mark.parametrize(
    ("most", "place", "said"),
    [
        (9, 5, "tensors before it are correct if they are kept"),
        (3, 7, "stopped early: tensors before it may be wrong, too"),
        (1, None, "stopped before it found a tensor"),
    ],
)
def test_what_was_not_looked_at_is_not_called_right(
    most: int, place: int | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tensor from the sixth on is wrong where it is kept alone; all together they are right."""

    def trial(self: _Search, places: Collection[int]) -> _Trial:
        self.builds += 1
        alone = len(places) == 1
        return _Trial(float(alone), {place: float(alone and place >= 5) for place in places})

    monkeypatch.setattr(_Search, "_trial", trial)
    request = {"tensors": list("abcdefghijklmnop"), "most_builds": most, "seconds": 60, "tolerance": 0.1}
    corner = Corner("opt", {}, {}, {})
    located = _Search(cast(Session, None), request, corner, {}, lambda *_: None).found()
    assert located["place"] == place
    assert said in located["reason"]
