"""The probe of the host that needs an engine. Whatever is given is not probed."""

from __future__ import annotations

import platform

from tasks.consumer import installed, nvml
from tasks.domain.errors import GpuUnavailable, NameAmbiguous, RequestInvalid, ToolchainBroken
from tasks.domain.host import Host
from tasks.domain.host_options import named_gpu, named_tensorrt
from tasks.domain.target import ComputeCapability, Flavour
from tasks.domain.triton_releases import TritonRelease, triton_release
from tasks.tensorrt.inside.cuda import cuda_version, driver_version, open_driver


def probe(  # noqa: PLR0913 (each is an option)
    *,
    gpu: str | None = None,
    compute: str | None = None,
    tensorrt: str | None = None,
    flavour: str | None = None,
    triton: str | None = None,
    driver: str | None = None,
    allow_host_code: bool = False,
) -> Host:
    """Return this host, as far as it is not given.

    Makes no CUDA context. Without NVIDIA's management library it initialises CUDA in this process.

    Args:
        gpu: the GPU's slug, or its name as the driver reports it: `l4`, `NVIDIA L4`.
        compute: the compute capability of a `gpu` that is not known by name: `8.9`.
        tensorrt: the full version, `10.13.3.9`; 1.x is TensorRT-RTX.
        flavour: `tensorrt` or `tensorrt_rtx`; default: what is installed.
        triton: an image of Triton, `26.07-trtllm`: its TensorRT will run the engine.
        driver: the version of NVIDIA's driver.
        allow_host_code: whether native code that a version-compatible plan contains may run.

    Raises:
        GpuUnavailable: no GPU is given, and none is visible.
        ToolchainBroken: no TensorRT is given, and none is installed.
        NameAmbiguous: the visible GPUs are different models, or both product lines are installed.
        RequestInvalid: a given value cannot be used.
    """
    image = None if triton is None else triton_release(triton)
    library = _library(tensorrt, flavour, image)
    seen = _devices(needed=gpu is None)
    name, capability = _gpu(seen) if gpu is None else _given_gpu(gpu, compute)
    return Host(
        gpu=name,
        compute=capability,
        flavour=library.flavour,
        version=library.version,
        os=platform.system().lower(),
        architecture=platform.machine(),
        driver=driver or (seen.driver if seen and gpu is None else None),
        cuda=library.cuda,
        driver_cuda=seen.cuda if seen and gpu is None and driver is None else None,
        lean_runtimes=installed.lean_runtimes() if tensorrt is None and image is None else frozenset(),
        host_code=allow_host_code,
        triton=triton,
    )


def _library(tensorrt: str | None, flavour: str | None, image: TritonRelease | None) -> installed.Installed:
    kind = None if flavour is None else _flavour(flavour)
    if tensorrt is not None:
        family, version = named_tensorrt(tensorrt)
        cuda: str | None = None
    elif image is not None:
        family, version, cuda = Flavour.TENSORRT, image.tensorrt, image.cuda
    else:
        return _installed(kind)
    return installed.Installed(flavour=kind or family, version=version, cuda=cuda, source="what was given")


def _installed(flavour: Flavour | None) -> installed.Installed:
    libraries = installed.installed(flavour)
    if len(libraries) == 1:
        return libraries[0]
    if libraries:
        raise NameAmbiguous(
            wanted="the TensorRT of this host",
            found=" and ".join(f"{each.flavour} {each.version} ({each.source})" for each in libraries),
            fix="give --flavour tensorrt or --flavour tensorrt_rtx",
        )
    raise ToolchainBroken(
        wanted="the TensorRT of this host",
        found="neither a Python package nor a library with a full version",
        fix="install TensorRT, or give --tensorrt VERSION with four numbers, or --triton IMAGE",
    )


def _flavour(text: str) -> Flavour:
    try:
        return Flavour(text.replace("-", "_"))
    except ValueError as error:
        raise RequestInvalid(
            wanted="the flavour tensorrt or tensorrt_rtx", found=repr(text), fix="give one of them"
        ) from error


def _given_gpu(text: str, compute: str | None) -> tuple[str, ComputeCapability]:
    row = named_gpu(text, compute)
    return row.name, row.compute


def _devices(*, needed: bool) -> nvml.Devices | None:
    """Return what the driver reports; None if nothing is needed and nobody answers.

    Raises:
        GpuUnavailable: the driver is missing, or does not work.
    """
    try:
        return nvml.devices()
    except nvml.NvmlError:
        return _of_driver() if needed else None


def _of_driver() -> nvml.Devices:
    """Return what CUDA's own library reports: some hosts, as Jetson boards, have no management library."""
    visible = tuple(nvml.Device(name=gpu.name, compute=gpu.compute) for gpu in open_driver().gpus())
    return nvml.Devices(driver=driver_version(), cuda=cuda_version(), visible=visible)


def _gpu(seen: nvml.Devices | None) -> tuple[str, ComputeCapability]:
    models = dict.fromkeys((device.name, device.compute) for device in (seen.visible if seen else ()))
    if not models:
        raise GpuUnavailable(
            wanted="a GPU that this process may use",
            found="none",
            fix="give --gpu, or check nvidia-smi and CUDA_VISIBLE_DEVICES",
        )
    if len(models) > 1:
        raise NameAmbiguous(
            wanted="one GPU model that this process may use",
            found=", ".join(name for name, _ in models),
            fix="give --gpu, or set CUDA_VISIBLE_DEVICES to the GPU that will run the engine",
        )
    ((name, compute),) = models
    return name, ComputeCapability.parse(compute)
