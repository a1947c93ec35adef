"""What an engine is built for: a frozen value that is probed, and never read from a label."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.domain.text_enum import StrEnum


class Flavour(StrEnum):
    """A product line of TensorRT; the value is the name of its Python module."""

    TENSORRT = "tensorrt"
    RTX = "tensorrt_rtx"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TensorRTVersion:
    """A full TensorRT version: a plan loads only in the same version, in all four parts."""

    major: int
    minor: int
    patch: int
    build: int

    @classmethod
    def parse(cls, text: str) -> TensorRTVersion:
        """Parse what a toolchain reports, for example `10.13.3.9`.

        Raises:
            ValueError: the text does not have four numbers.
        """
        match = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)\.(\d+)", text)
        if match is None:
            raise ValueError(f"a TensorRT version has four numbers, not {text!r}")
        major, minor, patch, build = (int(part) for part in match.groups())
        return cls(major=major, minor=minor, patch=patch, build=build)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}.{self.build}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ComputeCapability:
    """The instruction set of a GPU, for example 8.9."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> ComputeCapability:
        """Parse a text such as `8.9`.

        Raises:
            ValueError: the text is not two numbers.
        """
        match = re.fullmatch(r"(\d+)\.(\d)", text)
        if match is None:
            raise ValueError(f"a compute capability has the form 8.9, not {text!r}")
        return cls(major=int(match[1]), minor=int(match[2]))

    @property
    def sm(self) -> str:
        """The name that compilers use: `sm89`."""
        return f"sm{self.major}{self.minor}"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTarget:
    """Where a plan runs.

    Attributes:
        flavour: TensorRT or TensorRT-RTX.
        version: the TensorRT that built the plan.
        gpu: the model as the driver reports it; None for an RTX engine, which runs on every GPU of its
            compute capabilities.
        compute_capabilities: exactly one with a GPU model; sorted, at least one for RTX.
        os: operating system, `linux`.
        architecture: processor architecture, `x86_64` or `aarch64`.
    """

    flavour: Flavour
    version: TensorRTVersion
    gpu: str | None
    compute_capabilities: tuple[ComputeCapability, ...]
    os: str
    architecture: str

    def __post_init__(self) -> None:
        if not self.compute_capabilities or list(self.compute_capabilities) != sorted(
            set(self.compute_capabilities)
        ):
            raise ValueError("a target has at least one compute capability, sorted, without duplicates")
        if (self.gpu is None) != (self.flavour is Flavour.RTX):
            raise ValueError("a target of TensorRT names a GPU model; one of TensorRT-RTX does not")
        if self.gpu is not None and len(self.compute_capabilities) != 1:
            raise ValueError("a GPU model has one compute capability")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolchainInfo:
    """The interpreter and TensorRT that built a plan, as the building process saw them.

    Attributes:
        module: the Python module of TensorRT.
        python: version of the interpreter.
        driver: version of NVIDIA's driver; None without a driver.
        cuda: the CUDA version of the driver, for example `13.0`; None without a driver.
    """

    module: str
    python: str
    driver: str | None
    cuda: str | None = None
