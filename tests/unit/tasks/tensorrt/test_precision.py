"""One precision, realised per family: what is in the graph, which flags are set, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from onnx import TensorProto

from tasks.domain.errors import BuildRefused
from tasks.domain.gpu_table import Family as Row
from tasks.domain.gpu_table import gpu_table, graph_opset
from tasks.domain.request import Precision
from tasks.domain.target import EngineTarget, Flavour, TensorRTVersion
from tasks.tensorrt.engine import BuiltEngine, EngineJob, graph_precision
from tasks.tensorrt.inside.families import rtx, trt8, trt10, trt11
from tasks.tensorrt.inside.families.registry import Family, family_of
from tasks.tensorrt.inside.options import Options

Build = Callable[[EngineJob], BuiltEngine]
Job = Callable[..., EngineJob]
Graph = Callable[..., Path]

LISTINGS = Path(__file__).parents[3] / "assets/trt_api"
FAMILIES: dict[str, Family] = {
    "8.6.0": trt8,
    "10.13.3.9": trt10,
    "10.16.1.11": trt10,
    "11.4.0.106": trt11,
    "rtx-1.7.1.116": rtx,
}
ALL_IN_GRAPH = {"fp16", "bf16", "int8", "fp8"}
CARRIERS = {"fp16": "HALF", "bf16": "BF16", "int8": "INT8", "fp8": "FP8"}


def as_it_is(version: str) -> Any:
    """Stands in for the module of a TensorRT: it has the names that this version has, and no others."""
    listing = json.loads((LISTINGS / f"{version}.json").read_text("utf-8"))
    names = {
        name: IntEnum(name, [member for member in listing[name] if member.isupper()], start=0)
        for name in ("BuilderFlag", "HardwareCompatibilityLevel", "NetworkDefinitionCreationFlag")
    }
    names["ComputeCapability"] = IntEnum("ComputeCapability", ["SM89"])
    return SimpleNamespace(**names, IProgressMonitor=object)


class Config:
    """Remembers the flags; TF32 is on at first, as in every TensorRT."""

    def __init__(self) -> None:
        self.flags = {"TF32"}
        self.hardware_compatibility_level: Any = None

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag.name)

    def set_tactic_sources(self, sources: int) -> None:
        assert sources == 0

    def set_compute_capability(self, capability: Any, index: int) -> bool:
        return bool(capability.name == "SM89" and index == 0)


def options(precision: str) -> Options:
    return Options(
        precision=precision, workspace_mib=1, optimization_level=3, profiles=(),
        compute_capabilities=("8.9",), gpu_index=0, version_compatible=False, lean_runtime=True,
        hardware="none", refittable=False, stripped=False,
    )  # fmt: skip


def row_of(version: str) -> Row:
    flavour = Flavour.RTX if version.startswith("rtx") else Flavour.TENSORRT
    return gpu_table().families[flavour, int(version.removeprefix("rtx-").split(".")[0])]


CELLS = [(version, precision) for version in FAMILIES for precision in sorted(row_of(version).precisions)]


@pytest.mark.parametrize(("version", "precision"), CELLS)
def test_flags_and_typing(version: str, precision: str) -> None:
    family, trt, config = FAMILIES[version], as_it_is(version), Config()
    builder = SimpleNamespace(create_network=lambda flags: flags)
    flags = family.create_network(trt, builder, options(precision))
    family.configure(trt, config, options(precision), lambda _: None)
    kind = trt.NetworkDefinitionCreationFlag
    strong = getattr(kind, "STRONGLY_TYPED", None)
    is_strong = strong is not None and bool(flags & 1 << int(strong))
    assert is_strong == (family is not trt8 and (precision in family.IN_GRAPH or family in (trt11, rtx)))
    wanted = {"fp32": set[str]()}.get(precision, {precision.upper()})
    # A strongly typed network takes no flag but TF32.
    assert config.flags == (wanted & {"TF32"} if is_strong else wanted)


@pytest.mark.parametrize("version", FAMILIES)
@pytest.mark.parametrize(
    ("name", "changes", "flags"),
    [
        ("version", {"version_compatible": True}, {"VERSION_COMPATIBLE"}),
        ("version", {"version_compatible": True, "lean_runtime": False},
         {"VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"}),
        ("ampere_plus", {"hardware": "ampere_plus"}, {"AMPERE_PLUS"}),
        ("same_compute_capability", {"hardware": "same_compute_capability"}, {"SAME_COMPUTE_CAPABILITY"}),
        ("stripped", {"stripped": True}, {"STRIP_PLAN"}),
    ],
)  # fmt: skip
def test_plans_get_what_the_table_does_not_lack(
    version: str, name: str, changes: dict[str, Any], flags: set[str]
) -> None:
    if name in row_of(version).lacks:
        return  # refused before a process starts
    config = Config()
    asked = dataclasses.replace(options("fp32"), **changes)
    FAMILIES[version].configure(as_it_is(version), config, asked, lambda _: None)
    level = getattr(config.hardware_compatibility_level, "name", "NONE")
    assert config.flags | ({level} - {"NONE"}) == flags


@pytest.mark.parametrize("row", gpu_table().families.items(), ids=lambda row: f"{row[0][0]}-{row[0][1]}")
def test_table_and_modules_agree(row: Any) -> None:
    """Whatever is written into a graph must be in an opset that the family reads."""
    (flavour, major), listed = row
    family = family_of(flavour.value, f"{major}.9")
    assert {Precision(name) for name in family.IN_GRAPH} <= listed.precisions
    assert all(graph_opset(17, Precision(name)) <= listed.opset for name in family.IN_GRAPH)


@pytest.mark.parametrize(
    ("flavour", "version", "in_graph"),
    [
        (Flavour.RTX, "1.7.1.116", ALL_IN_GRAPH),
        (Flavour.TENSORRT, "11.4.0.106", ALL_IN_GRAPH),
        (Flavour.TENSORRT, "10.13.3.9", {"int8", "fp8"}),
        (Flavour.TENSORRT, "8.6.0.12", {"int8"}),
    ],
)
def test_graph_precision(
    flavour: Flavour, version: str, in_graph: set[str], rtx_target: Callable[..., EngineTarget]
) -> None:
    gpu = None if flavour is Flavour.RTX else "NVIDIA L4"
    target = dataclasses.replace(
        rtx_target("8.9"), flavour=flavour, version=TensorRTVersion.parse(version), gpu=gpu
    )
    for precision in Precision:
        wanted = precision if precision in in_graph else Precision.FP32
        assert graph_precision(target, precision) is wanted


def network(*types: str, is_output: bool = False) -> Any:
    """Stands in for a parsed network with one layer for each element type."""
    tensors = [
        SimpleNamespace(dtype=SimpleNamespace(name=name), is_network_output=is_output)
        for name in ("FLOAT", "INT64", *types)
    ]
    layers = [
        SimpleNamespace(num_outputs=1, get_output=lambda _, t=tensor: t, type=SimpleNamespace(name=kind))
        for tensor in tensors
        for kind in ["QUANTIZE" if tensor.dtype.name == "INT8" else "CONVOLUTION"]
    ]
    return SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__)


@pytest.mark.parametrize(("version", "precision"), CELLS)
@pytest.mark.parametrize("carried", [None, *CARRIERS])
def test_types_are_held_against_the_precision(version: str, precision: str, carried: str | None) -> None:
    family = FAMILIES[version]
    graph = network(*([CARRIERS[carried]] if carried else []))
    weak = family is trt8 or (family is trt10 and precision not in trt10.IN_GRAPH)
    # In a weakly typed network flags decide where FP16 and BF16 are used, whatever the graph says.
    seen = carried if not weak or carried == "int8" or (carried == "fp8" and family is trt10) else None
    if seen == (precision if precision in family.IN_GRAPH else None):
        family.check_network(graph, options(precision))
        return
    with pytest.raises(BuildRefused, match=f"a graph for {precision}") as caught:
        family.check_network(graph, options(precision))
    assert caught.value.found == (
        f"{seen.upper()} tensors in the graph" if seen else f"no {precision.upper()} tensor in the graph"
    )


@pytest.mark.parametrize(("version", "precision"), CELLS)
def test_an_output_in_fp16_is_no_arithmetic(version: str, precision: str) -> None:
    family = FAMILIES[version]
    inside = [CARRIERS[precision]] if precision in family.IN_GRAPH else []
    graph = network(*inside)
    layers = [graph.get_layer(index) for index in range(graph.num_layers)]
    layers.append(network("HALF", is_output=True).get_layer(2))
    both = SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__)
    family.check_network(both, options(precision))


LOW = {Precision.FP16: TensorProto.FLOAT16, Precision.BF16: TensorProto.BFLOAT16}
QUANTISED = {Precision.INT8: TensorProto.INT8, Precision.FP8: TensorProto.FLOAT8E4M3FN}


@pytest.fixture
def graph_in(conv_net: Graph, quantised_net: Graph) -> Callable[[Precision], Path]:
    """A function that writes a small graph in a precision."""

    def make(precision: Precision) -> Path:
        if precision in QUANTISED:
            return quantised_net(QUANTISED[precision])
        return conv_net(kind=LOW.get(precision, TensorProto.FLOAT))

    return make


@pytest.mark.parametrize("precision", Precision)
def test_rtx_builds_each_with_the_signature_s_types(
    precision: Precision, build: Build, job: Job, graph_in: Callable[[Precision], Path]
) -> None:
    built = build(job(graph_in(precision), precision=precision))
    assert built.plan.stat().st_size > 10_000
    assert built.inputs[0].dtype == built.outputs[0].dtype == "float32"


@pytest.mark.parametrize(
    ("precision", "computes", "lacks"),
    [(Precision.BF16, "8.0", "7.5"), (Precision.FP8, "8.9", "8.6")],
)
def test_rtx_has_what_the_table_says(
    precision: Precision,
    computes: str,
    lacks: str,
    build: Build,
    job: Job,
    graph_in: Callable[[Precision], Path],
) -> None:
    assert str(gpu_table().compute[precision]) == computes
    graph = graph_in(precision)
    build(job(graph, computes, precision=precision))
    with pytest.raises(BuildRefused, match="leave this precision out for this target"):
        build(job(graph, lacks, precision=precision))


def test_rtx_refuses_another_graph(build: Build, job: Job, conv_net: Graph, quantised_net: Graph) -> None:
    with pytest.raises(BuildRefused, match="no BF16 tensor in the graph"):
        build(job(conv_net(), precision=Precision.BF16))
    with pytest.raises(BuildRefused, match=r"INT8 tensors in the graph.*ask for int8"):
        build(job(quantised_net(TensorProto.INT8), precision=Precision.FP32))
