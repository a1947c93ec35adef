"""How a graph marks the operations that TensorRT plugins compute."""

from __future__ import annotations

PLUGIN_DOMAIN = "trt.plugins"
"""TensorRT's parser looks for a plugin by an operation's name, whatever its domain is; ONNX's checker and
onnxruntime know only what is in a domain of their own."""
