"""Child: lists the GPUs that NVIDIA's driver shows to it and uses each, without TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.tensorrt.inside.cuda import open_driver, visible_gpus


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """List them, and use a little memory of each.

    Args:
        request: nothing.
        report: takes the progress.

    Returns:
        `gpus`, as `tasks.tensorrt.inside.probe` returns them.

    Raises:
        GpuUnavailable: there is an NVIDIA driver, but it or a GPU does not work.
    """
    del request, report
    gpus = visible_gpus()
    if gpus:
        driver = open_driver()
        for gpu in gpus:
            driver.try_memory(gpu["index"])
    return {"gpus": gpus}
