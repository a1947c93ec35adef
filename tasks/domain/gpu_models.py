"""The GPUs that the farm knows by name. One row adds a GPU.

A GPU without a row can still join: its agent's probe names it, and its key in the store is made from that
name. Runs on consumers: Python 3.10, the standard library alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.domain.target import ComputeCapability


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A row: a GPU that the farm knows by name.

    Attributes:
        name: as the driver reports it.
        slug: how keys in the store and requests write it.
        compute: its compute capability.
    """

    name: str
    slug: str
    compute: ComputeCapability


_ROWS = (
    ("Tesla T4", "t4", "7.5"),
    ("NVIDIA A100-SXM4-40GB", "a100-sxm4-40gb", "8.0"),
    ("NVIDIA A100-SXM4-80GB", "a100-sxm4-80gb", "8.0"),
    ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb", "8.0"),
    ("NVIDIA A10", "a10", "8.6"),
    ("NVIDIA A10G", "a10g", "8.6"),
    ("Orin", "jetson-orin", "8.7"),
    ("NVIDIA L4", "l4", "8.9"),
    ("NVIDIA L40S", "l40s", "8.9"),
    ("NVIDIA GeForce RTX 4090", "rtx-4090", "8.9"),
    ("NVIDIA H100 80GB HBM3", "h100-sxm-80gb", "9.0"),
    ("NVIDIA H100 PCIe", "h100-pcie-80gb", "9.0"),
    ("NVIDIA H200", "h200", "9.0"),
    ("NVIDIA B200", "b200", "10.0"),
    ("NVIDIA GeForce RTX 5090", "rtx-5090", "12.0"),
)

GPU_MODELS: tuple[Gpu, ...] = tuple(
    Gpu(name=name, slug=slug, compute=ComputeCapability.parse(compute)) for name, slug, compute in _ROWS
)
"""Every row, oldest compute capability first."""

_BY_NAME = {gpu.name: gpu for gpu in GPU_MODELS}


def gpu_slug(name: str) -> str:
    """Return the slug of the GPU that the driver calls `name`; a GPU without a row has a slug, too."""
    row = _BY_NAME.get(name)
    if row is not None:
        return row.slug
    return re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("nvidia ")).strip("-") or "unnamed"


def gpu_called(text: str) -> Gpu | None:
    """Return the row that `text` names, by its slug or as the driver reports it; None if no row does."""
    return next((gpu for gpu in GPU_MODELS if text in {gpu.name, gpu.slug}), None)
