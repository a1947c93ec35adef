"""The GPU of a build, for the families that measure kernels on the GPU that they build for."""

from __future__ import annotations

from tasks.domain.errors import GpuUnavailable
from tasks.tensorrt.inside.cuda import use_gpu
from tasks.tensorrt.inside.options import Device, Options


def gpu_device(options: Options) -> Device:
    """Make the requested GPU current and return it.

    Raises:
        GpuUnavailable: no GPU is requested, or there is none.
    """
    if options.gpu_index is None:
        raise GpuUnavailable(
            wanted="a GPU to build on",
            found="none was given: this TensorRT measures its kernels on the GPU that it builds for",
            fix="build on an agent that runs on a host with that GPU",
        )
    gpu = use_gpu(options.gpu_index)
    return Device(gpu=gpu.name, compute_capabilities=(gpu.compute,))
