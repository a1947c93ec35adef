"""TensorRT 11 and TensorRT-RTX: the types in the graph are the arithmetic. TF32 alone is still a flag."""

from __future__ import annotations

from typing import Any

from tasks.domain.errors import BuildRefused
from tasks.tensorrt.inside.options import Options


def create_network(trt: Any, builder: Any) -> Any:
    """Return an empty network whose types are kept."""
    return builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))


def set_tf32(trt: Any, config: Any, precision: str) -> None:
    """Allow TF32 where it is asked for, and only there: it is on by default and is no FP32."""
    if precision == "tf32":
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)


def check_network(trt: Any, network: Any, options: Options) -> None:
    """Hold the graph's own types against the precision.

    Raises:
        BuildRefused: FP16 is asked for and nothing in the graph is, or the other way round.
    """
    half = _has_half(trt, network)
    if half == (options.precision == "fp16"):
        return
    raise BuildRefused(
        wanted=f"a graph for {options.precision}: this TensorRT takes the arithmetic from the graph's types",
        found="FP16 tensors in the graph" if half else "no FP16 tensor in the graph",
        fix="ask for fp16, or take the casts out of the model"
        if half
        else "lower the graph to FP16 before this build",
    )


def _has_half(trt: Any, network: Any) -> bool:
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for number in range(layer.num_outputs):
            tensor = layer.get_output(number)
            if tensor.dtype == trt.DataType.HALF:
                return True
    return False
