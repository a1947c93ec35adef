"""What this host is: which toolchains work here, which GPUs they see, what they can build for.

Identity comes from running each toolchain, never from a label.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from tasks.children.workspace import Workspace
from tasks.domain.errors import GpuUnavailable, TargetUnavailable, ToolchainBroken
from tasks.domain.gpu_table import device_slug, gpu_table
from tasks.domain.offer import select
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
        targets, missing = select((probe.offer for probe in self.toolchains), devices)
        if missing:
            raise self._unavailable(missing)
        return targets

    def sites_of(self, target: EngineTarget) -> tuple[BuildSite, ...]:
        """Return where `target` can be built here: one toolchain, with each GPU that it can use for that.

        One site without a GPU where the target has none here.

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
                sites = tuple(
                    BuildSite(
                        toolchain=probe.toolchain,
                        gpu_index=gpu.index,
                        gpu_uuid=gpu.uuid,
                        cuda=probe.info.cuda,
                    )
                    for gpu in fitting
                )
                nowhere = BuildSite(
                    toolchain=probe.toolchain, gpu_index=None, gpu_uuid=None, cuda=probe.info.cuda
                )
                return sites or (nowhere,)
        raise self._unavailable((device_slug(target),))

    def site_of(self, target: EngineTarget) -> BuildSite:
        """Return the first of `sites_of`."""
        return self.sites_of(target)[0]

    def _unavailable(self, missing: tuple[str, ...]) -> TargetUnavailable | GpuUnavailable:
        """Return the error for devices that nothing here can build for; a driver may only be ill."""
        known = ", ".join(sorted({device_slug(target) for target in self.targets()})) or "nothing"
        ill = [broken.error for broken in self.broken if isinstance(broken.error, GpuUnavailable)]
        wanted, unknown_rtx = f"to build for {', '.join(missing)}", _unknown_rtx(missing)
        if ill and not unknown_rtx:
            return GpuUnavailable(wanted=wanted, found=ill[0].found, fix=ill[0].fix)
        broken = "".join(f"; {each.interpreter} is broken: {each.error.found}" for each in self.broken)
        return TargetUnavailable(
            wanted=wanted,
            found=f"this host can build for {known}{broken}",
            fix=unknown_rtx
            or "ask for one of those, or run on a host with that GPU, its toolchain in ENGINEFARM_TOOLCHAINS",
        )


def _unknown_rtx(devices: tuple[str, ...]) -> str:
    """Return what to do about devices that TensorRT-RTX does not build for; empty where there are none."""
    known = {f"rtx-{capability.sm}" for capability in gpu_table().rtx}
    unknown = [device for device in devices if device.startswith("rtx-sm") and device not in known]
    if not unknown:
        return ""
    return (
        f"TensorRT-RTX builds for {', '.join(sorted(known))} and sets of these only, as in rtx-sm86-sm89: "
        f"for {', '.join(unknown)} use TensorRT itself on a host with that GPU"
    )


def _candidates(interpreters: Iterable[str]) -> list[Toolchain]:
    installed = (flavour for flavour in Flavour if find_spec(flavour.value))
    own = [Toolchain(interpreter=sys.executable, flavour=flavour) for flavour in installed]
    given = [Toolchain(interpreter=path, flavour=flavour) for path in interpreters for flavour in Flavour]
    return own + given


_known: dict[tuple[str, ...], HostProbe] = {}


async def probe_host(interpreters: tuple[str, ...], *, work: Workspace) -> HostProbe:
    """Run the farm's own toolchains and those of `interpreters`, and return what works.

    A host does not change while a process runs, so the answer is kept, unless a driver did not work that may
    work later; the process that builds looks again and refuses a target that is not the one asked for.
    """
    known = _known.get(interpreters)
    if known is None or any(broken.error.retryable for broken in known.broken):
        known = _known[interpreters] = await _probe(interpreters, work)
    return known


async def _probe(interpreters: tuple[str, ...], work: Workspace) -> HostProbe:
    candidates = _candidates(interpreters)
    answers = await asyncio.gather(
        *(probe_toolchain(candidate, work=work) for candidate in candidates), return_exceptions=True
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
