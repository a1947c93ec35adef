"""Where on a host a cell is built."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.tensorrt.toolchain import Toolchain


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSite:
    """A toolchain, and the GPU to use.

    Attributes:
        toolchain: what builds.
        gpu_index: the GPU of the target on this host; None where the target has none here.
    """

    toolchain: Toolchain
    gpu_index: int | None
