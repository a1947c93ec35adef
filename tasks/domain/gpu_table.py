"""The table of GPUs and TensorRT families (`gpus.toml`), and the names it gives to targets."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tasks.domain.errors import ToolchainBroken
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One row: a GPU that the farm knows by name."""

    name: str
    slug: str
    compute: ComputeCapability


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTable:
    """The rows of `gpus.toml`.

    Attributes:
        gpus: the known GPUs by the name that the driver reports.
        rtx: compute capabilities that TensorRT-RTX builds for without a GPU.
        opsets: the highest ONNX opset by flavour and major version of TensorRT.
    """

    gpus: dict[str, Gpu]
    rtx: tuple[ComputeCapability, ...]
    opsets: dict[tuple[Flavour, int], int]


@cache
def gpu_table() -> GpuTable:
    """Return the table that is shipped with the farm."""
    raw = tomllib.loads(files(__package__).joinpath("gpus.toml").read_text("utf-8"))
    rows = [
        Gpu(name=row["name"], slug=row["slug"], compute=ComputeCapability.parse(row["compute"]))
        for row in raw["gpu"]
    ]
    return GpuTable(
        gpus={row.name: row for row in rows},
        rtx=tuple(ComputeCapability.parse(text) for text in raw["rtx"]["compute"]),
        opsets={
            (Flavour(flavour), int(major)): opset
            for flavour, majors in raw["opset"].items()
            for major, opset in majors.items()
        },
    )


def gpu_slug(name: str) -> str:
    """Return how keys write the GPU that the driver calls `name`; a GPU without a row gets one, too."""
    row = gpu_table().gpus.get(name)
    if row is not None:
        return row.slug
    return re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("nvidia ")).strip("-")


def device_slug(target: EngineTarget) -> str:
    """Return the device part of a target as keys and requests write it: `l4` or `rtx-sm89`."""
    if target.gpu is not None:
        return gpu_slug(target.gpu)
    return "-".join(("rtx", *(capability.sm for capability in target.compute_capabilities)))


def opset_for(target: EngineTarget) -> int:
    """Return the ONNX opset to convert to for `target`.

    Raises:
        ToolchainBroken: the table has no row for this TensorRT family.
    """
    opset = gpu_table().opsets.get((target.flavour, target.version.major))
    if opset is None:
        known = ", ".join(f"{flavour} {major}" for flavour, major in gpu_table().opsets)
        raise ToolchainBroken(
            wanted="a TensorRT family that the farm knows",
            found=f"{target.flavour} {target.version}",
            fix=f"use one of {known}, or add the family: one module and one row",
        )
    return opset
