"""Weakly typed networks: flags allow lower precision, and TensorRT chooses where to use it."""

from __future__ import annotations

from typing import Any


def set_precision(config: Any, flags: dict[str, Any], precision: str) -> None:
    """Set the flag of `precision` and clear the others: TF32 is on by default, and it is not FP32.

    Args:
        config: the build's configuration.
        flags: the family's flags by precision; FP32 has none.
        precision: the requested precision.
    """
    for wanted, flag in flags.items():
        if precision == wanted:
            config.set_flag(flag)
        else:
            config.clear_flag(flag)
