"""Engines that TensorRT-RTX really builds, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tasks.domain.digest import blob_ref
from tasks.domain.errors import BuildRefused, DigestMismatch, RequestInvalid, TargetUnavailable
from tasks.domain.gpu_table import gpu_table
from tasks.domain.record import TensorSpec
from tasks.domain.request import Precision, ShapeRange
from tasks.domain.target import ComputeCapability, TensorRTVersion
from tasks.tensorrt.engine import BuiltEngine, EngineJob
from tasks.tensorrt.toolchain import Toolchain
from tests.stand_in.toolchain import StandIn

Build = Callable[[EngineJob], BuiltEngine]
Job = Callable[..., EngineJob]
Graph = Callable[..., Path]


def test_fp32_engine_with_dynamic_batch(build: Build, job: Job, conv_net: Graph, tmp_path: Path) -> None:
    wanted = job(conv_net())
    built = build(wanted)
    assert built.target == wanted.target
    assert built.plan.parent == tmp_path
    assert built.plan.stat().st_size > 10_000
    assert built.ref == blob_ref(built.plan.read_bytes())
    assert built.inputs == (TensorSpec(name="x", dtype="float32", shape=(None, 3, 32, 32)),)
    assert built.outputs == (TensorSpec(name="y", dtype="float32", shape=(None, 10)),)
    assert set(built.seconds) == {"load", "parse", "build", "inspect"}
    assert built.seconds["build"] > 0.01
    assert built.peak_mib > 50
    assert built.info.module == "tensorrt_rtx"
    assert list(tmp_path.iterdir()) == [built.plan]


def test_fp32_is_not_tf32(build: Build, job: Job, conv_net: Graph) -> None:
    graph = conv_net()
    plans = [
        build(job(graph, precision=precision)).plan.read_bytes()
        for precision in (Precision.FP32, Precision.TF32)
    ]
    assert plans[0] != plans[1]


def test_the_same_build_gives_the_same_bytes(build: Build, job: Job, conv_net: Graph) -> None:
    graph = conv_net()
    assert build(job(graph)).plan.read_bytes() == build(job(graph)).plan.read_bytes()


@pytest.fixture
def tamper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that lets `data`, an expression, become the plan's file as soon as it is written."""

    def arrange(data: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(
            "import os, pathlib\n"
            "def leave(status, leave=os._exit):\n"
            f"    for plan in pathlib.Path({str(tmp_path)!r}).glob('engine-*.plan'):\n"
            "        data = plan.read_bytes()\n"
            f"        plan.write_bytes({data})\n"
            "    leave(status)\n"
            "os._exit = leave\n",
            "utf-8",
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return arrange


def test_reference_is_of_what_was_built_not_of_the_file(
    build: Build, job: Job, conv_net: Graph, tamper: Callable[[str], None]
) -> None:
    engine_job = job(conv_net())
    honest = build(engine_job)
    tamper("data[:-1] + bytes([data[-1] ^ 1])")
    changed = build(engine_job)
    assert changed.ref == honest.ref
    assert changed.ref != blob_ref(changed.plan.read_bytes())


def test_plan_that_is_cut_short_is_refused(
    build: Build, job: Job, conv_net: Graph, tmp_path: Path, tamper: Callable[[str], None]
) -> None:
    tamper("data[:-1]")
    with pytest.raises(DigestMismatch, match="as TensorRT built it"):
        build(job(conv_net()))
    assert list(tmp_path.glob("*.plan")) == []


def test_one_portable_plan_for_two_generations(build: Build, job: Job, conv_net: Graph) -> None:
    built = build(job(conv_net(), "8.9", "12.0"))
    assert [compute.sm for compute in built.target.compute_capabilities] == ["sm89", "sm120"]
    assert built.plan.stat().st_size > 10_000


@pytest.mark.parametrize("capability", gpu_table().rtx, ids=str)
def test_each_capability_of_the_table_is_built_for(
    capability: ComputeCapability, build: Build, job: Job, conv_net: Graph
) -> None:
    """In FP16, which is all that TensorRT-RTX multiplies in for 7.5."""
    half = conv_net(1, onnx.TensorProto.FLOAT16)
    built = build(job(half, str(capability), precision=Precision.FP16))
    assert built.target.compute_capabilities == (capability,)
    assert built.ref.size > 10_000


def test_workspace_and_level_reach_the_builder(
    stand_in: Callable[..., StandIn],
    build_on: Callable[[StandIn], tuple[Toolchain, BuiltEngine]],
) -> None:
    """Plans of the stand-in tell what its builder was configured by; neither value is its own default."""
    plan = build_on(stand_in())[1].plan.read_bytes()
    header, _ = json.JSONDecoder().raw_decode(plan[plan.index(b"{") :].decode("latin-1"))
    assert (header["workspace"], header["level"]) == (64 << 20, 0)


def test_hopper_is_refused_with_the_alternative(build: Build, job: Job, conv_net: Graph) -> None:
    with pytest.raises(TargetUnavailable, match=r"capability 9\.0.*SM120.*module tensorrt") as caught:
        build(job(conv_net(), "8.9", "9.0"))
    assert "SM89" in caught.value.found


def test_another_version_than_wanted_is_refused(build: Build, job: Job, conv_net: Graph) -> None:
    engine_job = job(conv_net())
    older = dataclasses.replace(engine_job.target, version=TensorRTVersion.parse("1.6.0.1"))
    with pytest.raises(TargetUnavailable) as caught:
        build(dataclasses.replace(engine_job, target=older))
    assert "1.6.0.1" in caught.value.wanted
    assert str(engine_job.target.version) in caught.value.found


def test_damaged_and_empty_graphs_are_refused(
    build: Build, job: Job, conv_net: Graph, tmp_path: Path
) -> None:
    whole = conv_net().read_bytes()
    broken, empty = tmp_path / "broken.onnx", tmp_path / "empty.onnx"
    broken.write_bytes(whole[: len(whole) // 2])
    empty.write_bytes(b"")
    with pytest.raises(BuildRefused, match="file is damaged"):
        build(job(broken))
    with pytest.raises(BuildRefused, match="empty graph"):
        build(job(empty))
    assert sorted(tmp_path.iterdir()) == [broken, empty]


def test_unknown_operation_is_named(build: Build, job: Job, save_graph: Graph) -> None:
    graph = save_graph([helper.make_node("Frob", ["x"], ["y"], name="block3/frob")], [4])
    with pytest.raises(BuildRefused, match=r"node block3/frob \(Frob\).*standard operations"):
        build(job(graph, shapes={}))


def test_mixed_types_are_named(build: Build, job: Job, save_graph: Graph) -> None:
    add = helper.make_node("Add", ["x", "half"], ["y"], name="mixed")
    graph = save_graph([add], [4], {"half": np.ones(4, np.float16)})
    with pytest.raises(BuildRefused, match=r"node mixed \(Add\).*mixes FP16 and FP32") as caught:
        build(job(graph, shapes={}))
    assert "driver" not in caught.value.found


def test_text_is_no_tensor(build: Build, job: Job, save_graph: Graph) -> None:
    graph = save_graph([helper.make_node("Identity", ["x"], ["y"])], [4], None, onnx.TensorProto.STRING)
    with pytest.raises(BuildRefused, match="no such element type"):
        build(job(graph, shapes={}))


def test_turing_has_no_fp32_product(build: Build, job: Job, conv_net: Graph) -> None:
    with pytest.raises(BuildRefused, match=r"ask for fp16.* or take sm75 out"):
        build(job(conv_net(), "7.5"))


def test_a_size_out_of_the_values_of_a_float_input_is_refused_with_a_way_out(
    build: Build, job: Job, save_graph: Graph
) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["size"], to=onnx.TensorProto.INT64),
        helper.make_node("Resize", ["image", "", "", "size"], ["y"], mode="linear", name="resize/Bilinear"),
    ]
    image = {"image": np.ones((1, 3, 8, 8), np.float32)}
    graph = save_graph(nodes, [4], image, out_shape=["n", "c", "h", "w"])
    with pytest.raises(BuildRefused, match=r"node resize/Bilinear .*make the size in this node a constant"):
        build(job(graph))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, "shapes for input x"),
        ({"image": ShapeRange(min=(1,), opt=(1,), max=(1,))}, "shapes for image"),
        ({"x": ShapeRange(min=(1, 3), opt=(1, 3), max=(1, 3))}, r"input x \[\?, 3, 32, 32\]"),
        (
            {"x": ShapeRange(min=(1, 3, 16, 32), opt=(1, 3, 32, 32), max=(1, 3, 32, 32))},
            "fixed dimensions stay",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    shapes: dict[str, ShapeRange], message: str, build: Build, job: Job, conv_net: Graph
) -> None:
    with pytest.raises(RequestInvalid, match=message):
        build(job(conv_net(), shapes=shapes))


def test_static_graph_needs_no_shapes(build: Build, job: Job, save_graph: Graph) -> None:
    graph = save_graph([helper.make_node("Relu", ["x"], ["y"])], [2, 5])
    assert build(job(graph, shapes={})).outputs[0].shape == (2, 5)
    fixed = ShapeRange(min=(2, 5), opt=(2, 5), max=(2, 5))
    assert build(job(graph, shapes={"x": fixed})).inputs[0].shape == (2, 5)


def test_weights_beside_the_graph_are_read(build: Build, job: Job, conv_net: Graph, tmp_path: Path) -> None:
    whole = onnx.load(conv_net())
    onnx.save(whole, tmp_path / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    assert (tmp_path / "big.data").stat().st_size > 1000
    assert build(job(tmp_path / "big.onnx")).plan.read_bytes() == build(job(conv_net())).plan.read_bytes()
