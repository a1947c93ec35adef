"""What this host is: which toolchains work here, which GPUs they see, what they can build for.

Identity comes from running each toolchain, never from a label.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tasks.children.run import Limits
from tasks.domain.errors import GpuUnavailable, TargetUnavailable, ToolchainBroken
from tasks.domain.gpu_table import device_slug, full_slug, gpu_table, rtx_capabilities
from tasks.domain.request import ALL_TARGETS
from tasks.domain.target import EngineTarget, Flavour
from tasks.tensorrt.site import BuildSite
from tasks.tensorrt.toolchain import Toolchain, ToolchainProbe, probe_toolchain


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenToolchain:
    """A toolchain that was named and does not work, or not with this host's driver, with the reason."""

    interpreter: str
    error: ToolchainBroken | GpuUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProbe:
    """What was found on this host.

    Attributes:
        toolchains: those that work.
        broken: interpreters that were named and hold no working TensorRT.
    """

    toolchains: tuple[ToolchainProbe, ...]
    broken: tuple[BrokenToolchain, ...]

    def targets(self) -> tuple[EngineTarget, ...]:
        """Everything that this host can build for, each once."""
        return tuple(dict.fromkeys(target for probe in self.toolchains for target in probe.targets()))

    def select(self, devices: Iterable[str]) -> tuple[EngineTarget, ...]:
        """Return the targets that `devices` name: device slugs, `rtx-portable`, or `all`.

        Several compute capabilities of TensorRT-RTX in one slug, as in `rtx-sm86-sm89`, are one target.

        Raises:
            TargetUnavailable: a device that nothing here can build for.
        """
        wanted = tuple(devices)
        available = self.targets()
        if wanted == (ALL_TARGETS,) and available:
            return available
        slugs = {full_slug(device) for device in wanted}
        offered = (*available, *self._portable(wanted))
        missing = [device for device in wanted if full_slug(device) not in set(map(device_slug, offered))]
        if missing:
            raise _unavailable(missing, {device_slug(target) for target in available})
        return tuple(target for target in dict.fromkeys(offered) if device_slug(target) in slugs)

    def _portable(self, devices: Iterable[str]) -> list[EngineTarget]:
        """Return the targets of several compute capabilities that `devices` name."""
        sets = [one for one in map(rtx_capabilities, devices) if len(one) > 1]
        rtx = [probe for probe in self.toolchains if probe.toolchain.flavour is Flavour.RTX]
        return [probe.target(None, *one) for one in sets for probe in rtx]

    def site_of(self, target: EngineTarget) -> BuildSite:
        """Return the toolchain that builds `target` here, and the GPU to run it on, if there is one.

        Raises:
            TargetUnavailable: nothing here can build for it.
        """
        for probe in self.toolchains:
            if probe.builds(target):
                fitting = (
                    gpu
                    for gpu in probe.gpus
                    if gpu.compute in target.compute_capabilities and target.gpu in (None, gpu.name)
                )
                gpu = next(fitting, None)
                return BuildSite(
                    toolchain=probe.toolchain,
                    gpu_index=None if gpu is None else gpu.index,
                    gpu_uuid=None if gpu is None else gpu.uuid,
                )
        raise _unavailable([device_slug(target)], {device_slug(one) for one in self.targets()})


def _unavailable(missing: list[str], known: set[str]) -> TargetUnavailable:
    rtx = {f"rtx-{capability.sm}" for capability in gpu_table().rtx}
    unknown_rtx = [device for device in missing if device.startswith("rtx-sm") and device not in rtx]
    fix = (
        f"TensorRT-RTX builds for {', '.join(sorted(rtx))} and for sets of these only, as in rtx-sm86-sm89: "
        f"for {', '.join(unknown_rtx)} use TensorRT itself on a host with that GPU"
        if unknown_rtx
        else "ask for one of those, or run on a host with that GPU, its toolchain in ENGINEFARM_TOOLCHAINS"
    )
    return TargetUnavailable(
        wanted=f"to build for {', '.join(missing)}",
        found=f"this host can build for {', '.join(sorted(known)) or 'nothing'}",
        fix=fix,
    )


def _candidates(interpreters: Iterable[str]) -> list[Toolchain]:
    own = [Toolchain(interpreter=sys.executable, flavour=one) for one in Flavour if find_spec(one.value)]
    given = [Toolchain(interpreter=path, flavour=one) for path in interpreters for one in Flavour]
    return own + given


_known: dict[tuple[str, ...], HostProbe] = {}


async def probe_host(interpreters: tuple[str, ...], *, workdir: Path, limits: Limits) -> HostProbe:
    """Run the farm's own toolchains and those of `interpreters`, and return what works.

    A host does not change while a process runs, so the answer is kept; the process that builds looks
    again and refuses a target that is not the one asked for.
    """
    if interpreters not in _known:
        _known[interpreters] = await _probe(interpreters, workdir, limits)
    return _known[interpreters]


async def _probe(interpreters: tuple[str, ...], workdir: Path, limits: Limits) -> HostProbe:
    candidates = _candidates(interpreters)
    answers = await asyncio.gather(
        *(probe_toolchain(one, workdir=workdir, limits=limits) for one in candidates), return_exceptions=True
    )
    working: list[ToolchainProbe] = []
    failures: dict[str, ToolchainBroken | GpuUnavailable] = {}
    for candidate, answer in zip(candidates, answers, strict=True):
        if isinstance(answer, ToolchainBroken | GpuUnavailable):
            failures.setdefault(candidate.interpreter, answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            working.append(answer)
    fine = {probe.toolchain.interpreter for probe in working}
    broken = (
        BrokenToolchain(interpreter=path, error=error) for path, error in failures.items() if path not in fine
    )
    return HostProbe(toolchains=tuple(working), broken=tuple(broken))
