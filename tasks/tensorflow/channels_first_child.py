"""Child: `convert_child` for a model with its channels first, which only oneDNN's kernels can compute."""

from __future__ import annotations

import os

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"

from tasks.tensorflow.convert_child import main

__all__ = ["main"]
