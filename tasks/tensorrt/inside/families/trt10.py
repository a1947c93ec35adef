"""TensorRT 10: weakly typed with flags for FP32, TF32, FP16 and BF16, strongly typed for INT8 and FP8.

NVIDIA: "Use explicit quantization with Strong Typing. Precision-control build flags are not required and
should not be specified."
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html
"""

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
from tasks.tensorrt.inside.families.typing import check_strong, check_weak
from tasks.tensorrt.inside.families.weak import set_precision
from tasks.tensorrt.inside.families.whole import write_whole
from tasks.tensorrt.inside.messages import Messages
from tasks.tensorrt.inside.monitor import progress_monitor
from tasks.tensorrt.inside.options import Device, Node, Options, Pinning

IN_GRAPH = frozenset({"int8", "fp8"})
NEEDS_GPU = True
OLDEST = (10, 0)
PINNING: Pinning | None = pinned


def find_device(trt: Any, options: Options) -> Device:
    """Make the GPU to build on current and return it."""
    del trt
    return gpu_device(options)


def create_network(trt: Any, builder: Any, options: Options) -> Any:
    """Return an empty network; the batch is always an ordinary dimension."""
    if options.precision in IN_GRAPH:
        return create_strong(trt, builder)
    return builder.create_network(0)


def check_network(network: Any, options: Options) -> None:
    """Check the graph's types against the precision; FP16 and BF16 are set by flags."""
    check = check_strong if options.precision in IN_GRAPH else check_weak
    check(network, options.precision)


def configure(trt: Any, config: Any, options: Options, advance: Callable[[float], None]) -> None:
    """Set precision, compatibility, stripping, and progress."""
    if options.precision in IN_GRAPH:
        set_tf32(trt, config, options.precision)
    else:
        flags = {"tf32": trt.BuilderFlag.TF32, "fp16": trt.BuilderFlag.FP16, "bf16": trt.BuilderFlag.BF16}
        set_precision(config, flags, options.precision)
    if options.stripped:
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
    set_compatibility(trt, config, options)
    config.progress_monitor = progress_monitor(trt, advance)


def write_plan(trt: Any, builder: Any, network: Any, config: Any, path: Path) -> dict[str, Any] | None:
    """Build the plan, and write it to the file during the build if this version can."""
    if hasattr(builder, "build_serialized_network_to_stream"):  # the first of 10 cannot
        return write_streamed(trt, builder, network, config, path)
    return write_whole(builder, network, config, path)


def device_memory(engine: Any) -> int:
    """Return the bytes that the engine needs for activations at its largest shapes."""
    return int(engine.device_memory_size)


def failed_node(error: Any, messages: Messages) -> Node:
    """Return the node that `error` names."""
    del messages
    return named_node(error)
