"""Weakly typed networks: flags allow lower precision, and TensorRT chooses where it uses it."""

from __future__ import annotations

from typing import Any


def set_precision(config: Any, flags: dict[str, Any], precision: str) -> None:
    """Set the flag of `precision` and clear the others: TF32 is on by default and is no FP32.

    Args:
        config: what the build is configured by.
        flags: the family's flags by precision; FP32 has none.
        precision: what is asked for.
    """
    for wanted, flag in flags.items():
        if precision == wanted:
            config.set_flag(flag)
        else:
            config.clear_flag(flag)
