"""Runs in a child: whether TensorFlow and tf2onnx load on this host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Return the versions of TensorFlow, Keras and tf2onnx, after loading them."""
    del request
    import tensorflow as tf  # noqa: PLC0415 (the question is whether it loads)

    report("TensorFlow", 0.7)
    import keras  # noqa: PLC0415
    import tf2onnx  # noqa: PLC0415

    return {"TensorFlow": tf.__version__, "Keras": keras.__version__, "tf2onnx": tf2onnx.__version__}
