"""What only some TensorRT versions have: one module for each family."""
