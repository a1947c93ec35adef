"""TensorRT 10."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.tensorrt.inside.gpu_device import gpu_device
from tasks.tensorrt.inside.messages import Messages
from tasks.tensorrt.inside.monitor import progress_monitor
from tasks.tensorrt.inside.nodes import named_node
from tasks.tensorrt.inside.options import Device, Node, Options
from tasks.tensorrt.inside.weak import set_precision

STRONGLY_TYPED = False
NEEDS_GPU = True
OLDEST = (10, 0)


def find_device(trt: Any, options: Options) -> Device:
    """Return the GPU that is built on, made the current one."""
    del trt
    return gpu_device(options)


def create_network(trt: Any, builder: Any) -> Any:
    """Return an empty network; the batch is always a dimension like others."""
    del trt
    return builder.create_network(0)


def check_network(trt: Any, network: Any, options: Options) -> None:
    """Any graph will do: flags decide."""
    del trt, network, options


def configure(trt: Any, config: Any, options: Options, advance: Callable[[float], None]) -> None:
    """Set precision and progress."""
    set_precision(trt, config, options.precision)
    config.progress_monitor = progress_monitor(trt, advance)


def failed_node(error: Any, messages: Messages) -> Node:
    """Return the node that `error` names."""
    del messages
    return named_node(error)
