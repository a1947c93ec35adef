"""Plans that run on more than the GPU model and the TensorRT that built them."""

from __future__ import annotations

from typing import Any

from tasks.domain.errors import BuildRefused
from tasks.tensorrt.inside.options import Options


def set_compatibility(trt: Any, config: Any, options: Options) -> None:
    """Let the plan run on what `options` ask for.

    Raises:
        BuildRefused: this version has no such hardware compatibility.
    """
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if not options.lean_runtime:
            config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    levels = trt.HardwareCompatibilityLevel.__members__
    if options.hardware.upper() not in levels:
        raise BuildRefused(
            wanted=f"a plan with `compatibility: {{hardware: {options.hardware}}}`",
            found=f"that this TensorRT has {', '.join(sorted(levels)).lower()} only",
            fix="ask for one of these, or use a newer TensorRT",
        )
    config.hardware_compatibility_level = levels[options.hardware.upper()]
