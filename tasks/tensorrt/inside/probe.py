"""Child: reports the TensorRT of an interpreter, and the GPUs that it sees."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from tasks.tensorrt.inside.cuda import visible_gpus
from tasks.tensorrt.inside.families.registry import family_of
from tasks.tensorrt.inside.library import full_version, host, info, load


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Probe the toolchain.

    Args:
        request: `module`, the Python module of TensorRT.
        report: takes the progress.

    Returns:
        `version`, `info`, `gpus`, `runs` (whether pycuda is installed; it is not imported), `os` and
        `architecture`.

    Raises:
        ToolchainBroken: it does not load, or the farm does not know its family.
        GpuUnavailable: there is an NVIDIA driver, but it does not work.
    """
    module = request["module"]
    report("load", 0.0)
    version = full_version(load(module))
    family_of(module, version)
    return {
        "version": version,
        "info": info(module),
        "gpus": visible_gpus(),
        "runs": find_spec("pycuda") is not None,
        **host(),
    }
