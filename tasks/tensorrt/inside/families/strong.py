"""Strongly typed networks: the types in the graph are the arithmetic, and TF32 alone is still a flag."""

from __future__ import annotations

from typing import Any


def create_network(trt: Any, builder: Any) -> Any:
    """Return an empty network whose types are kept."""
    return builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))


def set_tf32(trt: Any, config: Any, precision: str) -> None:
    """Allow TF32 where it is asked for, and only there: it is on by default and is no FP32."""
    if precision == "tf32":
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
