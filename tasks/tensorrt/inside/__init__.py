"""What runs inside a toolchain's interpreter: NumPy, TensorRT, and pycuda where a GPU is used.

Keeps to Python 3.10 and imports nothing of the farm but `tasks.domain.errors`.
"""
