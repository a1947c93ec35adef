"""The TensorRT side: toolchains, and the code inside their interpreters."""
