"""TensorRT 11: always strongly typed; it has no precision flags and calibrators any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.tensorrt.inside.families import pinned
from tasks.tensorrt.inside.families.compatible import set_compatibility
from tasks.tensorrt.inside.families.gpu_device import gpu_device
from tasks.tensorrt.inside.families.nodes import named_node
from tasks.tensorrt.inside.families.streamed import write_streamed
from tasks.tensorrt.inside.families.strong import create_network as create_strong
from tasks.tensorrt.inside.families.strong import set_tf32
from tasks.tensorrt.inside.families.typing import check_strong
from tasks.tensorrt.inside.messages import Messages
from tasks.tensorrt.inside.monitor import progress_monitor
from tasks.tensorrt.inside.options import Device, Node, Options, Pinning

IN_GRAPH = frozenset({"fp16", "bf16", "int8", "fp8"})
NEEDS_GPU = True
OLDEST = (11, 0)
PINNING: Pinning | None = pinned


def find_device(trt: Any, options: Options) -> Device:
    """Make the GPU to build on current and return it."""
    del trt
    return gpu_device(options)


def create_network(trt: Any, builder: Any, options: Options) -> Any:
    """Return an empty network that keeps the types of the graph."""
    del options
    return create_strong(trt, builder)


def check_network(network: Any, options: Options) -> None:
    """Check the graph's types against the precision."""
    check_strong(network, options.precision)


def configure(trt: Any, config: Any, options: Options, advance: Callable[[float], None]) -> None:
    """Set TF32, compatibility, stripping, and progress."""
    set_tf32(trt, config, options.precision)
    if options.stripped:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    set_compatibility(trt, config, options)
    config.progress_monitor = progress_monitor(trt, advance)


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
