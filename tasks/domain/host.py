"""A host that needs an engine, and what it asks for. Runs on consumers: Python 3.10, the standard library."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.domain.gpu_models import gpu_slug
from tasks.domain.request import Precision
from tasks.domain.target import ComputeCapability, Flavour, TensorRTVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a plan is going to run on.

    Attributes:
        gpu: the GPU's model as the driver reports it.
        compute: its compute capability.
        flavour: TensorRT or TensorRT-RTX.
        version: its full version.
        os: operating system, `linux`.
        architecture: processor architecture, `x86_64` or `aarch64`.
        driver: version of NVIDIA's driver; None if it is not known.
        cuda: the CUDA that this TensorRT was built for, `13.0`; None if it is not known.
        driver_cuda: the CUDA that the driver takes, with NVIDIA's forward compatibility package if that is
            installed; None if it is not known. It counts more than `driver`.
        lean_runtimes: versions of NVIDIA's lean runtime that the program can load.
        host_code: whether the consumer allows native code that a plan contains.
        triton: the image of Triton that runs the plan; None without Triton.
    """

    gpu: str
    compute: ComputeCapability
    flavour: Flavour
    version: TensorRTVersion
    os: str = "linux"
    architecture: str = "x86_64"
    driver: str | None = None
    cuda: str | None = None
    driver_cuda: str | None = None
    lean_runtimes: frozenset[TensorRTVersion] = frozenset()
    host_code: bool = False
    triton: str | None = None

    @property
    def device(self) -> str:
        """The GPU's slug, as in keys of the store."""
        return gpu_slug(self.gpu)


DEFAULT_PRECISIONS = (
    Precision.FP16,
    Precision.BF16,
    Precision.TF32,
    Precision.FP32,
    Precision.INT8,
    Precision.FP8,
)
"""The order of preference if a consumer names none: quantised precisions last, for they cost accuracy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a consumer asks for.

    Attributes:
        model: name of the model.
        channel: the channel to follow; None if `version` is given.
        version: name of the release; None if a channel is given.
        precisions: those that will do, in the order of preference; empty: any, see `DEFAULT_PRECISIONS`.
    """

    model: str
    channel: str | None = None
    version: str | None = None
    precisions: tuple[Precision, ...] = ()

    def __post_init__(self) -> None:
        if (self.channel is None) == (self.version is None):
            raise ValueError("either a channel or a version is wanted")

    @property
    def order(self) -> tuple[Precision, ...]:
        """The precisions that will do, in the order of preference."""
        return self.precisions or DEFAULT_PRECISIONS

    def __str__(self) -> str:
        return f"{self.model}@{self.channel}" if self.channel else f"{self.model} {self.version}"
