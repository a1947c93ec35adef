"""Differences between TensorRT versions: one module for each family."""
