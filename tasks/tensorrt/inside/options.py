"""What a build is asked for, and what it runs on, as both arrive in the child."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Options:
    """What decides the engine besides the graph.

    Attributes:
        precision: `fp32`, `tf32`, `fp16`, `bf16`, `int8` or `fp8`.
        workspace_mib: most scratch memory on the GPU, in MiB.
        optimization_level: 0 (fast build) to 5 (fast engine).
        shapes: `min`, `opt` and `max` shape by input name.
        compute_capabilities: for which GPUs, for example `("8.9",)`.
        gpu_index: the GPU to build on; None where none is needed.
    """

    precision: str
    workspace_mib: int
    optimization_level: int
    shapes: dict[str, dict[str, list[int]]]
    compute_capabilities: tuple[str, ...]
    gpu_index: int | None


@dataclass(frozen=True)
class Device:
    """What the plan will run on, as found.

    Attributes:
        gpu: the model as the driver reports it; None where the plan runs on any of its capabilities.
        compute_capabilities: for example `("8.9",)`.
    """

    gpu: str | None
    compute_capabilities: tuple[str, ...]


@dataclass(frozen=True)
class Node:
    """A node of the ONNX graph; either part is empty where the parser does not tell it."""

    name: str
    op: str


class Pinning(Protocol):
    """How a family repeats a build; see `tasks.tensorrt.inside.pinned`."""

    def pin(self, trt: Any, config: Any, *, replay: bool) -> None:
        """Let the cache of `config` decide all kernels; with `replay` it must know each."""

    def tactics(self, cache: Any) -> dict[str, int]:
        """Return the kernel that each entry of `cache` decides for, by the entry's key."""


def options_from(request: dict[str, Any]) -> Options:
    """Read the options out of a build request."""
    return Options(
        precision=request["precision"],
        workspace_mib=request["workspace_mib"],
        optimization_level=request["optimization_level"],
        shapes=request["shapes"],
        compute_capabilities=tuple(request["target"]["compute_capabilities"]),
        gpu_index=request["gpu_index"],
    )
