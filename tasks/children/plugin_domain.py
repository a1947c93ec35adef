"""The ONNX domain of operations that TensorRT plugins compute."""

from __future__ import annotations

PLUGIN_DOMAIN = "trt.plugins"
"""TensorRT's parser looks up a plugin by the operation's name, in any domain. ONNX's checker and onnxruntime
accept unknown operations only in a custom domain."""
