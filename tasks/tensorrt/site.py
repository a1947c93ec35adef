"""The toolchain and GPU of a host that build a cell."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.children.counted import BUILD
from tasks.children.sources import source_digest
from tasks.tensorrt.toolchain import Toolchain


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSite:
    """A toolchain, and the GPU to use.

    Attributes:
        toolchain: the toolchain that builds.
        gpu_index: the GPU of the target on this host; None if this host has none.
        gpu_uuid: an identifier of this GPU for all processes of the host; None like the index.
        cuda: the CUDA version of NVIDIA's driver; None without a driver.
    """

    toolchain: Toolchain
    gpu_index: int | None
    gpu_uuid: str | None
    cuda: str | None = None


def build_tools() -> dict[str, str]:
    """Return the digest of the farm's own code that builds plans, as one of the tools that decide them."""
    return {"enginefarm-build": source_digest(BUILD)}
