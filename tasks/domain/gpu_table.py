"""The table of TensorRT families (`gpus.toml`), and names of targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tasks.domain.compatibility import PlanForm, requested_plan_options
from tasks.domain.errors import ToolchainBroken
from tasks.domain.gpu_models import GPU_MODELS, Gpu, gpu_slug
from tasks.domain.release import ModelFormat
from tasks.domain.request import Precision
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour

RTX_PORTABLE = "rtx-portable"
"""The name in requests of one TensorRT-RTX plan for every GPU from Ampere on."""

_AMPERE = ComputeCapability(major=8, minor=0)
_REFITTED = frozenset({"refittable", "stripped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A row: a TensorRT family.

    Attributes:
        opset: the highest ONNX opset that it parses.
        precisions: those that it supports.
        lacks: what its plans do not support, by the names of `requested_plan_options`, and why.
    """

    opset: int
    precisions: frozenset[Precision]
    lacks: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTable:
    """The rows of `gpus.toml` and `gpu_models.py`.

    Attributes:
        gpus: the known GPUs by the name that the driver reports.
        rtx: the compute capabilities that TensorRT-RTX builds for without a GPU.
        portable: those among them that `rtx-portable` names.
        families: the limits of each TensorRT family, by flavour and major version.
        base_opsets: the opsets to convert to, in the order of attempts.
        graph_opsets: the lowest opset that can express a precision in a graph.
        compute: the lowest compute capability that supports a precision, if not every GPU does.
    """

    gpus: dict[str, Gpu]
    rtx: tuple[ComputeCapability, ...]
    portable: tuple[ComputeCapability, ...]
    families: dict[tuple[Flavour, int], Family]
    base_opsets: tuple[int, ...]
    graph_opsets: dict[Precision, int]
    compute: dict[Precision, ComputeCapability]


@cache
def gpu_table() -> GpuTable:
    """Return the table that comes with the farm."""
    import tomllib  # noqa: PLC0415 (Python 3.10, which consumers may have, does not have it)

    raw = tomllib.loads(files(__package__).joinpath("gpus.toml").read_text("utf-8"))
    return GpuTable(
        gpus={gpu.name: gpu for gpu in GPU_MODELS},
        rtx=tuple(map(ComputeCapability.parse, raw["rtx"]["compute"])),
        portable=tuple(map(ComputeCapability.parse, raw["rtx"]["portable"])),
        families={
            (Flavour(row["flavour"]), row["major"]): Family(
                opset=row["opset"],
                precisions=frozenset(map(Precision, row["precisions"])),
                lacks=row.get("lacks", {}),
            )
            for row in raw["family"]
        },
        base_opsets=tuple(raw["opset"]["base"]),
        graph_opsets={Precision(name): opset for name, opset in raw["opset"]["graph"].items()},
        compute={Precision(name): ComputeCapability.parse(text) for name, text in raw["compute"].items()},
    )


def device_slug(target: EngineTarget) -> str:
    """Return the device part of a target, as in keys and requests: `l4` or `rtx-sm89`."""
    if target.gpu is not None:
        return gpu_slug(target.gpu)
    return rtx_slug(target.compute_capabilities)


def rtx_slug(capabilities: Iterable[ComputeCapability]) -> str:
    """Return the slug of a TensorRT-RTX plan for `capabilities`: `rtx-sm86-sm89`."""
    return "-".join(("rtx", *(capability.sm for capability in capabilities)))


def rtx_capabilities(device: str) -> tuple[ComputeCapability, ...]:
    """Return the compute capabilities of the TensorRT-RTX plan that `device` names, sorted.

    Empty if it names something else, or a capability that TensorRT-RTX does not build for.
    """
    if device == RTX_PORTABLE:
        return gpu_table().portable
    by_name = {capability.sm: capability for capability in gpu_table().rtx}
    flavour, *names = device.split("-")
    if flavour != "rtx" or not names or not by_name.keys() >= set(names):
        return ()
    return tuple(sorted({by_name[name] for name in names}))


def full_slug(device: str) -> str:
    """Return the canonical slug of `device`: that of `rtx-portable`, and of capabilities in any order."""
    capabilities = rtx_capabilities(device)
    return rtx_slug(capabilities) if capabilities else device


def family_of(target: EngineTarget) -> Family:
    """Return the row of the TensorRT family of `target`.

    Raises:
        ToolchainBroken: the table has no row for this family.
    """
    family = gpu_table().families.get((target.flavour, target.version.major))
    if family is None:
        families = ", ".join(f"{flavour} {major}" for flavour, major in gpu_table().families)
        raise ToolchainBroken(
            wanted="a TensorRT family that the farm knows",
            found=f"{target.flavour} {target.version}",
            fix=f"use one of {families}, or add the family: one module and one row",
        )
    return family


def base_opsets(target: EngineTarget, form: ModelFormat | None = None) -> tuple[int, ...]:
    """Return the opsets to convert to for `target`, in the order of attempts.

    An ONNX model of the form `form` may have any opset that the target reads.

    Raises:
        ToolchainBroken: the farm does not know the target's TensorRT family.
    """
    most, first = family_of(target).opset, gpu_table().base_opsets
    opsets = range(min(first), most + 1) if form is ModelFormat.ONNX else first
    return tuple(opset for opset in opsets if opset <= most)


def graph_opset(base: int, precision: Precision) -> int:
    """Return the opset of a graph in `precision` that is made from a graph with the opset `base`."""
    return max(base, gpu_table().graph_opsets.get(precision, base))


def unsupported_plan_option(target: EngineTarget, form: PlanForm) -> str | None:
    """Return why no plan for `target` can have the requested `form`; None if it can.

    Raises:
        ToolchainBroken: the farm does not know the target's TensorRT family.
    """
    asked = requested_plan_options(form)
    if len(target.compute_capabilities) > 1 and not _REFITTED.isdisjoint(asked):
        # TensorRT-RTX 1.7: "kernel_gen.cpp:1249: CHECK(sm_vers_.size() == 1) failed"
        return "a plan for several compute capabilities cannot be refitted: name one capability per target"
    if "ampere_plus" in asked and target.compute_capabilities[0] < _AMPERE:
        return f"ampere_plus: it is built on a GPU from Ampere on, and {device_slug(target)} is older"
    lacks = family_of(target).lacks
    return next((f"{name}: {lacks[name]}" for name in asked if name in lacks), None)


def unsupported_precision(target: EngineTarget, precision: Precision) -> str | None:
    """Return why no engine for `target` can compute in `precision`; None if it can.

    Raises:
        ToolchainBroken: the farm does not know the target's TensorRT family.
    """
    if precision not in family_of(target).precisions:
        return f"TensorRT {target.version} has no {precision}"
    least = gpu_table().compute.get(precision)
    lacking = [
        capability for capability in target.compute_capabilities if least is not None and capability < least
    ]
    if lacking:
        return f"{precision} needs compute capability {least}, and this is {', '.join(map(str, lacking))}"
    return None
