"""TensorRT-RTX 1: strongly typed, and built without a GPU for the compute capabilities that it supports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.domain.errors import TargetUnavailable
from tasks.tensorrt.inside.families.nodes import named_node
from tasks.tensorrt.inside.families.streamed import write_streamed
from tasks.tensorrt.inside.families.strong import create_network as create_strong
from tasks.tensorrt.inside.families.strong import set_tf32
from tasks.tensorrt.inside.families.typing import check_strong
from tasks.tensorrt.inside.messages import Messages
from tasks.tensorrt.inside.monitor import progress_monitor
from tasks.tensorrt.inside.options import Device, Node, Options, Pinning

IN_GRAPH = frozenset({"fp16", "bf16", "int8", "fp8"})
NEEDS_GPU = False
OLDEST = (1, 0)
PINNING: Pinning | None = None  # it measures nothing, so there is nothing to repeat


def find_device(trt: Any, options: Options) -> Device:
    """Return the requested compute capabilities.

    Raises:
        TargetUnavailable: this TensorRT-RTX does not build for one of them.
    """
    supported = set(trt.ComputeCapability.__members__)
    for capability in options.compute_capabilities:
        if _member(capability) not in supported:
            raise TargetUnavailable(
                wanted=f"an engine of TensorRT-RTX for compute capability {capability}",
                found=f"that it builds for {', '.join(sorted(supported - {'NONE', 'CURRENT'}))} only",
                fix="build with a toolchain of TensorRT (module tensorrt) on a host with that GPU",
            )
    return Device(gpu=None, compute_capabilities=options.compute_capabilities)


def create_network(trt: Any, builder: Any, options: Options) -> Any:
    """Return an empty network that keeps the types of the graph."""
    del options
    return create_strong(trt, builder)


def check_network(network: Any, options: Options) -> None:
    """Check the graph's types against the precision."""
    check_strong(network, options.precision)


def configure(trt: Any, config: Any, options: Options, advance: Callable[[float], None]) -> None:
    """Set TF32, stripping, progress, and the compute capabilities; several of them make one portable plan."""
    set_tf32(trt, config, options.precision)
    if options.stripped:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    config.progress_monitor = progress_monitor(trt, advance)
    config.num_compute_capabilities = len(options.compute_capabilities)
    for index, capability in enumerate(options.compute_capabilities):
        if not config.set_compute_capability(getattr(trt.ComputeCapability, _member(capability)), index):
            raise TargetUnavailable(
                wanted=f"an engine for compute capabilities {', '.join(options.compute_capabilities)}",
                found=f"that TensorRT-RTX does not accept {capability} among them",
                fix="build a separate engine for each of them",
            )


def write_plan(trt: Any, builder: Any, network: Any, config: Any, path: Path) -> dict[str, Any] | None:
    """Build the plan into the file."""
    return write_streamed(trt, builder, network, config, path)


def device_memory(engine: Any) -> int:
    """Return the bytes that the engine needs for activations at its largest shapes."""
    return int(engine.device_memory_size_v2)


def failed_node(error: Any, messages: Messages) -> Node:
    """Return the node that `error` names."""
    del messages
    return named_node(error)


def _member(capability: str) -> str:
    return f"SM{capability.replace('.', '')}"
