"""What is asked of a plan besides what it computes: TensorRT-RTX builds it, or the refusal says why."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from agents.hardware.probe import HostProbe
from tasks.children.disk import is_no_space
from tasks.children.program import Confinement
from tasks.children.run import Limits, run_child
from tasks.domain.compatibility import Compatibility, HardwareLevel
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import BuildRefused, DiskFull, RequestInvalid, TargetUnavailable
from tasks.domain.gpu_table import device_slug
from tasks.domain.request import Precision, ShapeRange
from tasks.tensorrt.engine import BuiltEngine, EngineJob, build_request, child_program
from tasks.tensorrt.inside import build as build_child
from tasks.tensorrt.inside.families import rtx as rtx_family
from tasks.tensorrt.inside.families.streamed import _Sink
from tasks.tensorrt.inside.families.whole import write_whole
from tasks.tensorrt.toolchain import ToolchainProbe

Build = Callable[[EngineJob], BuiltEngine]
Job = Callable[..., EngineJob]
Graph = Callable[..., Path]


def batch(low: int, best: int, high: int) -> dict[str, ShapeRange]:
    return {
        "x": ShapeRange(min=(low, 3, 32, 32), opt=(best, 3, 32, 32), max=(high, 3, 32, 32)),
    }


def has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def test_several_profiles_each_have_kernels_of_their_own(build: Build, job: Job, conv_net: Graph) -> None:
    engine_job = job(conv_net())
    two = dataclasses.replace(engine_job, further_profiles=(batch(8, 16, 32),))
    single, double, again = (build(each).ref for each in (engine_job, two, two))
    assert double.size > 1.8 * single.size
    assert double == again


def test_a_further_profile_is_held_against_the_graph(build: Build, job: Job, conv_net: Graph) -> None:
    other = {"x": ShapeRange(min=(1, 3, 16, 32), opt=(1, 3, 32, 32), max=(1, 3, 32, 32))}
    with pytest.raises(RequestInvalid, match="fixed dimensions stay"):
        build(dataclasses.replace(job(conv_net()), further_profiles=(other,)))


@pytest.mark.parametrize(
    ("device", "slug"),
    [
        ("rtx-sm86-sm89", "rtx-sm86-sm89"),
        ("rtx-sm89-sm86", "rtx-sm86-sm89"),
        ("rtx-portable", "rtx-sm80-sm86-sm89-sm120-sm121"),
    ],
)
def test_one_plan_for_several_capabilities_is_built(
    device: str, slug: str, build: Build, job: Job, conv_net: Graph, rtx_probe: ToolchainProbe
) -> None:
    host = HostProbe(toolchains=(rtx_probe,), broken=())
    (target,) = host.select([device])
    assert device_slug(target) == slug
    assert host.site_of(target).toolchain == rtx_probe.toolchain
    built = build(dataclasses.replace(job(conv_net()), target=target))
    assert built.target == target
    assert built.ref.size > 10_000


def test_turing_is_taken_with_the_others_where_there_is_no_fp32_product(
    build: Build, job: Job, conv_net: Graph
) -> None:
    everything = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
    half = conv_net(kind=onnx.TensorProto.FLOAT16)
    assert build(job(half, *everything, precision=Precision.FP16)).ref.size > 10_000
    with pytest.raises(BuildRefused, match="take sm75 out of targets"):
        build(job(conv_net(), *everything))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"compatibility": Compatibility(version=True)}, "the very release that built them only"),
        (
            {"compatibility": Compatibility(hardware=HardwareLevel.AMPERE_PLUS)},
            "as in rtx-sm86-sm89, or rtx-portable",
        ),
    ],
)
def test_what_rtx_lacks_is_refused_with_the_reason(
    change: dict[str, Any], reason: str, build: Build, job: Job, conv_net: Graph
) -> None:
    with pytest.raises(TargetUnavailable, match=reason):
        build(dataclasses.replace(job(conv_net()), **change))


@pytest.mark.skipif(has_driver(), reason="TensorRT-RTX may build such plans where a GPU is")
@pytest.mark.parametrize("name", ["refittable", "stripped"])
def test_rtx_makes_plans_for_other_weights_only_where_a_gpu_is(
    name: str, build: Build, job: Job, conv_net: Graph
) -> None:
    changed: dict[str, Any] = {name: True}
    with pytest.raises(BuildRefused, match=r"CUDA_SUCCESS.*only on a host with a GPU"):
        build(dataclasses.replace(job(conv_net()), **changed))
    with pytest.raises(TargetUnavailable, match="name one capability per target"):
        build(dataclasses.replace(job(conv_net(), "8.6", "8.9"), **changed))


def test_layers_are_told_only_where_the_plan_loads(build: Build, job: Job, conv_net: Graph) -> None:
    built = build(job(conv_net()))
    assert built.layers is None
    assert built.no_layers == "built without a GPU, and TensorRT loads a plan only on its GPU"


def test_a_plan_that_is_written_while_it_is_built_has_the_same_bytes(
    build: Build, job: Job, conv_net: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_job, plan = job(conv_net()), tmp_path / "whole.plan"
    monkeypatch.setattr(rtx_family, "write_plan", lambda _, *rest: write_whole(*rest))
    request = build_request(engine_job, plan) | {"onnx": str(engine_job.onnx), "timing": None}
    whole = build_child.main(request, lambda *_: None)["plan"]
    built = build(engine_job)
    assert (built.ref.sha256, built.ref.size) == (whole["sha256"], whole["size"])
    assert built.plan.read_bytes() == plan.read_bytes()


def test_a_full_disk_is_told(job: Job, conv_net: Graph, tmp_path: Path, limits: Limits) -> None:
    engine_job = job(conv_net())
    request = build_request(engine_job, Path("/dev/full")) | {
        "layers": str(tmp_path / "none"),
        "timing": None,
    }
    program = dataclasses.replace(  # closed off, it could not open this file
        child_program(engine_job.toolchain, "build", None), confinement=Confinement.OPEN_DEVICE
    )
    with pytest.raises(DiskFull):
        asyncio.run(run_child(program, request, workdir=tmp_path, limits=limits))


class NearlyFull(io.BytesIO):
    """A file that takes three bytes in a call, and none beyond `room`."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, data: Any) -> int:
        return super().write(memoryview(data)[: min(3, self.room - self.tell())])


def test_a_piece_that_is_taken_in_parts_is_written_whole() -> None:
    file = NearlyFull(room=100)
    sink = _Sink(file)
    assert [sink.write(piece) for piece in (b"0123456789", b"", memoryview(b"abcd"))] == [10, 0, 4]
    assert file.getvalue() == b"0123456789abcd"
    assert BlobRef(**sink.document()) == blob_ref(file.getvalue())
    assert sink.error is None


def test_a_disk_that_takes_nothing_more_is_full() -> None:
    sink = _Sink(NearlyFull(room=8))
    assert sink.write(b"0123456789") == 0
    assert sink.error is not None
    assert is_no_space(sink.error)


@pytest.mark.slow
def test_the_plan_is_never_in_memory_as_a_whole(
    build: Build, job: Job, save_graph: Graph, tmp_path: Path
) -> None:
    """With the plan in memory it was 3.2 times the weights, of which one is the file that is mapped."""
    layers, width = 18, 2048
    draw = np.random.default_rng(0)
    weights = {f"w{n}": draw.standard_normal((width, width), np.float32) / width**0.5 for n in range(layers)}
    nodes = [
        helper.make_node("MatMul", [f"h{n}" if n else "x", f"w{n}"], [f"h{n + 1}" if n + 1 < layers else "y"])
        for n in range(layers)
    ]
    small = save_graph([helper.make_node("Relu", ["x"], ["y"])], [2, width])
    large = tmp_path / "large.onnx"
    onnx.save(
        onnx.load(save_graph(nodes, [2, width], weights)), large, save_as_external_data=True, location="w.bin"
    )
    own = build(job(small, shapes={})).peak_mib
    built = build(job(large, shapes={}))
    size = sum(array.nbytes for array in weights.values()) / 2**20
    assert built.ref.size > size * 2**20
    assert built.peak_mib - own < 2.9 * size
