"""Toolchains: interpreters with a TensorRT. Their properties are probed by running them."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

from tasks.children.run import ChildProgram, Confinement
from tasks.children.workspace import Workspace
from tasks.domain.errors import (
    ChildCrashed,
    ChildFailed,
    ChildKilled,
    ChildOutOfMemory,
    ChildTimedOut,
    FarmError,
    ToolchainBroken,
)
from tasks.domain.offer import Offer
from tasks.domain.target import (
    ComputeCapability,
    EngineTarget,
    Flavour,
    TensorRTVersion,
    ToolchainInfo,
)
from tasks.tensorrt.documents import read_info

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """An interpreter, and the TensorRT to use in it.

    Attributes:
        interpreter: absolute path of a Python interpreter, from 3.10 on.
        flavour: TensorRT or TensorRT-RTX; the value is the module's name.
        on_gpu: confinement of its processes that use a GPU. Probing tries whether the driver works for a
            process that is closed off; whoever has not probed does not know.
    """

    interpreter: str
    flavour: Flavour
    on_gpu: Confinement = Confinement.OPEN_DEVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedGpu:
    """A GPU that a toolchain sees.

    Attributes:
        index: its index among the visible GPUs.
        name: the model as the driver reports it.
        uuid: its identifier, as `nvidia-smi -L` writes it.
        compute: its compute capability.
        memory_mib: its memory in MiB.
    """

    index: int
    name: str
    uuid: str
    compute: ComputeCapability
    memory_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolchainProbe:
    """The properties of a toolchain.

    Attributes:
        toolchain: the probed toolchain.
        version: the full version of its TensorRT.
        info: its interpreter, module and driver.
        gpus: the GPUs that it sees; empty on a host without.
        runs: whether it has pycuda; without it, it builds engines but cannot verify them.
        os: operating system, `linux`.
        architecture: processor architecture, `x86_64` or `aarch64`.
    """

    toolchain: Toolchain
    version: TensorRTVersion
    info: ToolchainInfo
    gpus: tuple[ProbedGpu, ...]
    runs: bool
    os: str
    architecture: str

    @property
    def offer(self) -> Offer:
        """The offer of what it can build for."""
        return Offer(
            flavour=self.toolchain.flavour,
            version=self.version,
            gpus=tuple((gpu.name, gpu.compute) for gpu in self.gpus),
            os=self.os,
            architecture=self.architecture,
        )

    def targets(self) -> tuple[EngineTarget, ...]:
        """The targets that it can build for; see `Offer.targets`."""
        return self.offer.targets()

    def builds(self, target: EngineTarget) -> bool:
        """Return whether it can build for `target`; see `Offer.builds`."""
        return self.offer.builds(target)


async def probe_toolchain(toolchain: Toolchain, *, work: Workspace) -> ToolchainProbe:
    """Run the toolchain's interpreter and return its properties.

    Raises:
        ToolchainBroken: it does not start, crashes, has no such TensorRT, or has one that the farm does
            not know.
        GpuUnavailable: it loads, but NVIDIA's driver does not work, so it is unknown what the toolchain could
            build for.
    """
    program = ChildProgram(
        module="tasks.tensorrt.inside.probe",
        step="probe",
        interpreter=toolchain.interpreter,
        confinement=Confinement.NONE,  # it gets no untrusted input, and may create the driver's devices
    )
    request = {"module": toolchain.flavour.value}
    try:
        answer = await work.run(program, request)
    except (ChildCrashed, ChildFailed, ChildKilled, ChildOutOfMemory, ChildTimedOut) as error:
        raise ToolchainBroken(
            wanted=f"{toolchain.flavour} in {toolchain.interpreter} to load",
            found=error.found,
            fix=f"check whether `{toolchain.interpreter} -c 'import {toolchain.flavour}'` works",
        ) from error
    on_gpu = await _confinement_on_gpu(toolchain, answer.result["gpus"], work)
    return _read_probe(replace(toolchain, on_gpu=on_gpu), answer.result)


async def _confinement_on_gpu(
    toolchain: Toolchain, gpus: list[dict[str, Any]], work: Workspace
) -> Confinement:
    """Return how far processes that use a GPU can be closed off: the driver must serve them as before."""
    if not gpus or not work.limits.gpu_sandbox:
        return Confinement.OPEN_DEVICE
    program = ChildProgram(
        module="tasks.tensorrt.inside.gpus",
        step="probe",
        interpreter=toolchain.interpreter,
        confinement=Confinement.DEVICE,
    )
    try:
        shown = (await work.run(program, {})).result["gpus"]
    except FarmError as error:
        _LOG.warning("NVIDIA's driver does not work for a process that is closed off: %s", error.found)
        return Confinement.OPEN_DEVICE
    if shown != gpus:
        _LOG.warning("NVIDIA's driver shows %d GPUs to a process that is closed off, and %d else",
                     len(shown), len(gpus))  # fmt: skip
        return Confinement.OPEN_DEVICE
    return Confinement.DEVICE


def _read_probe(toolchain: Toolchain, result: dict[str, Any]) -> ToolchainProbe:
    gpus = (
        ProbedGpu(
            index=gpu["index"],
            name=gpu["name"],
            uuid=gpu["uuid"],
            compute=ComputeCapability.parse(gpu["compute"]),
            memory_mib=gpu["memory_mib"],
        )
        for gpu in result["gpus"]
    )
    return ToolchainProbe(
        toolchain=toolchain,
        version=TensorRTVersion.parse(result["version"]),
        info=read_info(result["info"]),
        gpus=tuple(gpus),
        runs=result["runs"],
        os=result["os"],
        architecture=result["architecture"],
    )
