"""Where on a host a cell is built."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.children.counted import BUILD
from tasks.children.sources import source_digest
from tasks.tensorrt.toolchain import Toolchain


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSite:
    """A toolchain, and the GPU to use.

    Attributes:
        toolchain: what builds.
        gpu_index: the GPU of the target on this host; None if the target has none here.
        gpu_uuid: the same GPU for all processes of the host; None like the index.
        cuda: version of CUDA that NVIDIA's driver has; None without one.
    """

    toolchain: Toolchain
    gpu_index: int | None
    gpu_uuid: str | None
    cuda: str | None = None


def build_tools() -> dict[str, str]:
    """Return the digest of the farm's own code that builds plans, as one of the tools that decide them."""
    return {"enginefarm-build": source_digest(BUILD)}
