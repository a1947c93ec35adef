"""What a build is asked for, and what it runs on, as both arrive in the child."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

Shapes = dict[str, dict[str, list[int]]]


@dataclass(frozen=True)
class Options:
    """What decides the engine besides the graph.

    Attributes:
        precision: `fp32`, `tf32`, `fp16`, `bf16`, `int8` or `fp8`.
        workspace_mib: most scratch memory on the GPU, in MiB.
        optimization_level: 0 (fast build) to 5 (fast engine).
        profiles: `min`, `opt` and `max` shape by input name, for each optimisation profile.
        compute_capabilities: for which GPUs, for example `("8.9",)`.
        gpu_index: the GPU to build on; None if none is needed.
        version_compatible: whether the plan also loads with later versions.
        lean_runtime: whether such a plan carries the runtime for that.
        hardware: on which other GPUs the plan also runs, a level of TensorRT's in small letters.
        refittable: whether the plan takes other weights later.
        stripped: whether its weights are left out.
    """

    precision: str
    workspace_mib: int
    optimization_level: int
    profiles: tuple[Shapes, ...]
    compute_capabilities: tuple[str, ...]
    gpu_index: int | None
    version_compatible: bool
    lean_runtime: bool
    hardware: str
    refittable: bool
    stripped: bool

    @property
    def carries_code(self) -> bool:
        """Whether the plan holds a runtime, which who loads it must allow."""
        return self.version_compatible and self.lean_runtime


@dataclass(frozen=True)
class Device:
    """What the plan will run on, as found.

    Attributes:
        gpu: the model as the driver reports it; None if the plan runs on any of its capabilities.
        compute_capabilities: for example `("8.9",)`.
    """

    gpu: str | None
    compute_capabilities: tuple[str, ...]


@dataclass(frozen=True)
class Node:
    """A node of the ONNX graph; either part is empty if the parser does not tell it."""

    name: str
    op: str


class Pinning(Protocol):
    """How a family repeats a build; see `tasks.tensorrt.inside.families.pinned`."""

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
        profiles=tuple(request["profiles"]),
        compute_capabilities=tuple(request["target"]["compute_capabilities"]),
        gpu_index=request["gpu_index"],
        version_compatible=request["compatibility"]["version"],
        lean_runtime=request["compatibility"]["lean_runtime"],
        hardware=request["compatibility"]["hardware"],
        refittable=request["refittable"],
        stripped=request["stripped"],
    )
