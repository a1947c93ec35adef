"""The options and the device of a build, as the child gets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

Shapes = dict[str, dict[str, list[int]]]


@dataclass(frozen=True)
class Options:
    """Everything that decides the engine besides the graph.

    Attributes:
        precision: `fp32`, `tf32`, `fp16`, `bf16`, `int8` or `fp8`.
        workspace_mib: most scratch memory on the GPU, in MiB.
        optimization_level: 0 (fast build) to 5 (fast engine).
        profiles: `min`, `opt` and `max` shape by input name, for each optimisation profile.
        compute_capabilities: of the GPUs to build for, for example `("8.9",)`.
        gpu_index: the GPU to build on; None if none is needed.
        version_compatible: whether the plan also loads with later versions.
        lean_runtime: whether a version-compatible plan contains the runtime for that.
        hardware: the other GPUs that the plan also runs on, a level of TensorRT's in lower case.
        refittable: whether the weights can be replaced later.
        stripped: whether the weights are left out.
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
        """Whether the plan contains a runtime, which its user must allow."""
        return self.version_compatible and self.lean_runtime


@dataclass(frozen=True)
class Device:
    """What the plan will run on, as probed.

    Attributes:
        gpu: the model as the driver reports it; None if the plan runs on any of its capabilities.
        compute_capabilities: for example `("8.9",)`.
    """

    gpu: str | None
    compute_capabilities: tuple[str, ...]


@dataclass(frozen=True)
class Node:
    """A node of the ONNX graph; a part is empty if the parser does not report it."""

    name: str
    op: str


class Pinning(Protocol):
    """How a family repeats a build; see `tasks.tensorrt.inside.families.pinned`."""

    def pin(self, trt: Any, config: Any, *, replay: bool) -> None:
        """Let the cache of `config` decide on all kernels; with `replay` it must have each."""

    def tactics(self, cache: Any) -> dict[str, int]:
        """Return the kernel that each entry of `cache` decides on, by the entry's key."""


def options_from(request: dict[str, Any]) -> Options:
    """Read the options from a build request."""
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
