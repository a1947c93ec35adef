"""The name under which records list the only graph of an ONNX model."""

from __future__ import annotations

SIGNATURE = "main"
