"""Stands in for pycuda; see `tests.stand_in.toolchain`."""
