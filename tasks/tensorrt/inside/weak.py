"""Up to TensorRT 10: an FP32 graph, and flags that allow lower precision."""

from __future__ import annotations

from typing import Any


def set_precision(trt: Any, config: Any, precision: str) -> None:
    """Set the flags for `precision` and clear the others: TF32 is on by default and is no FP32."""
    for flag, wanted in ((trt.BuilderFlag.TF32, "tf32"), (trt.BuilderFlag.FP16, "fp16")):
        if precision == wanted:
            config.set_flag(flag)
        else:
            config.clear_flag(flag)
