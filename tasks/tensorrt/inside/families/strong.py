"""Strongly typed networks: the types in the graph are the arithmetic; only TF32 is still a flag."""

from __future__ import annotations

from typing import Any


def create_network(trt: Any, builder: Any) -> Any:
    """Return an empty network that keeps the types of the graph."""
    return builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))


def set_tf32(trt: Any, config: Any, precision: str) -> None:
    """Allow TF32 only if it is requested: it is on by default, and it is not FP32."""
    if precision == "tf32":
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
