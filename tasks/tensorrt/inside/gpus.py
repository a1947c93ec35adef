"""Child: lists the GPUs that NVIDIA's driver shows to it, without TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.tensorrt.inside.cuda import visible_gpus


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """List them.

    Args:
        request: nothing.
        report: takes the progress.

    Returns:
        `gpus`, as `tasks.tensorrt.inside.probe` returns them.

    Raises:
        GpuUnavailable: there is an NVIDIA driver, but it does not work.
    """
    del request, report
    return {"gpus": visible_gpus()}
