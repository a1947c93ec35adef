"""The families of TensorRT: one module for each, chosen by module name and major version only here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tasks.domain.errors import ToolchainBroken
from tasks.tensorrt.inside.families import rtx, trt8, trt10, trt11
from tasks.tensorrt.inside.messages import Messages
from tasks.tensorrt.inside.options import Device, Node, Options, Pinning


class Family(Protocol):
    """The differences between the families."""

    IN_GRAPH: frozenset[str]
    """Precisions that are casts or Q/DQ nodes in the graph; the others are flags on an FP32 graph."""

    NEEDS_GPU: bool
    """Whether building needs a GPU of the target's model."""

    OLDEST: tuple[int, int]
    """The first major and minor version with everything that is used here."""

    PINNING: Pinning | None
    """How a build takes all its timings from one cache; None if it cannot."""

    def find_device(self, trt: Any, options: Options) -> Device:
        """Return what the plan will run on; raise TargetUnavailable or GpuUnavailable."""

    def create_network(self, trt: Any, builder: Any, options: Options) -> Any:
        """Return an empty network definition for the requested precision."""

    def check_network(self, network: Any, options: Options) -> None:
        """Raise BuildRefused if the parsed graph does not fit the requested precision."""

    def configure(self, trt: Any, config: Any, options: Options, advance: Callable[[float], None]) -> None:
        """Set precision and this family's options; `advance` takes the completed fraction of the build."""

    def write_plan(
        self, trt: Any, builder: Any, network: Any, config: Any, path: Path
    ) -> dict[str, Any] | None:
        """Build into the file; return `sha256` and `size` of TensorRT's bytes, None if it built none."""

    def failed_node(self, error: Any, messages: Messages) -> Node:
        """Return the node of a parser error."""

    def device_memory(self, engine: Any) -> int:
        """Return the bytes on the GPU that an engine needs for activations at its largest shapes."""


_FAMILIES: dict[tuple[str, int], Family] = {
    ("tensorrt", 8): trt8,
    ("tensorrt", 10): trt10,
    ("tensorrt", 11): trt11,
    ("tensorrt_rtx", 1): rtx,
}


def family_of(module: str, version: str) -> Family:
    """Return the family of a TensorRT.

    Args:
        module: name of its Python module.
        version: its version, at least major and minor.

    Raises:
        ToolchainBroken: the farm does not know the family, or the version is too old.
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    family = _FAMILIES.get((module, major))
    if family is None or (major, minor) < family.OLDEST:
        families = (f"{name} {'.'.join(map(str, row.OLDEST))}+" for (name, _), row in _FAMILIES.items())
        raise ToolchainBroken(
            wanted=f"one of the families {', '.join(families)}",
            found=f"{module} {version}",
            fix="configure an environment with one of these for the toolchain",
        )
    return family
