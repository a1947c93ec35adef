"""TensorRT 8.6: weakly typed; INT8 is Q/DQ nodes in the graph and a flag that allows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.tensorrt.inside.families.compatible import set_compatibility
from tasks.tensorrt.inside.families.gpu_device import gpu_device
from tasks.tensorrt.inside.families.typing import check_layers
from tasks.tensorrt.inside.families.weak import set_precision
from tasks.tensorrt.inside.families.whole import write_whole
from tasks.tensorrt.inside.messages import Messages
from tasks.tensorrt.inside.options import Device, Node, Options, Pinning

IN_GRAPH = frozenset({"int8"})
NEEDS_GPU = True
OLDEST = (8, 6)
PINNING: Pinning | None = None


def find_device(trt: Any, options: Options) -> Device:
    """Make the GPU to build on current and return it."""
    del trt
    return gpu_device(options)


def create_network(trt: Any, builder: Any, options: Options) -> Any:
    """Return an empty network with the batch as an ordinary dimension."""
    del options
    return builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))


def check_network(network: Any, options: Options) -> None:
    """Check Q/DQ layers against the precision; FP16 is set by a flag."""
    check_layers(network, options.precision)


def configure(trt: Any, config: Any, options: Options, advance: Callable[[float], None]) -> None:
    """Set precision and compatibility; keep out cuBLAS and cuDNN."""
    del advance  # this version does not report progress
    flags = {"tf32": trt.BuilderFlag.TF32, "fp16": trt.BuilderFlag.FP16, "int8": trt.BuilderFlag.INT8}
    set_precision(config, flags, options.precision)
    # A plan with kernels of cuBLAS or cuDNN needs the same libraries on every host.
    config.set_tactic_sources(0)
    set_compatibility(trt, config, options)


def write_plan(trt: Any, builder: Any, network: Any, config: Any, path: Path) -> dict[str, Any] | None:
    """Build the plan, then write it: this version cannot write it during the build."""
    del trt
    return write_whole(builder, network, config, path)


def device_memory(engine: Any) -> int:
    """Return the bytes that the engine needs for activations at its largest shapes."""
    return int(engine.device_memory_size)


def failed_node(error: Any, messages: Messages) -> Node:
    """Return the node of `error`: the error of this version has its number, the log its text."""
    texts = [*messages.errors, *messages.warnings]
    head = _first_match(rf"node number {error.node()} \[(\w+) ->", texts)
    name = _first_match(r"^name: \"(.*)\"$", texts)
    return Node(name=name or (f"number {error.node()}" if error.node() >= 0 else ""), op=head)


def _first_match(pattern: str, texts: list[str]) -> str:
    matches = (re.search(pattern, text, re.MULTILINE) for text in texts)
    return next((match[1] for match in matches if match), "")
