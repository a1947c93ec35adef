"""The TensorRT side: toolchains, and what runs inside their interpreters."""
