"""Probes this host: which toolchains work here, which GPUs they see, what they can build for.

Identity comes from running each toolchain, never from a label.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from time import monotonic

from tasks.children.workspace import Workspace
from tasks.domain.cells import Chosen, choose
from tasks.domain.devices import unknown_devices
from tasks.domain.errors import GpuUnavailable, TargetUnavailable, ToolchainBroken
from tasks.domain.gpu_table import device_slug
from tasks.domain.offer import select
from tasks.domain.target import EngineTarget, Flavour
from tasks.tensorrt.site import BuildSite
from tasks.tensorrt.toolchain import Toolchain, ToolchainProbe, probe_toolchain


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenToolchain:
    """A named toolchain that does not work here, or not with this host's driver, and the reason."""

    interpreter: str
    error: ToolchainBroken | GpuUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProbe:
    """The result of probing this host.

    Attributes:
        toolchains: the toolchains that work.
        broken: named interpreters without a working TensorRT.
    """

    toolchains: tuple[ToolchainProbe, ...]
    broken: tuple[BrokenToolchain, ...]

    def targets(self) -> tuple[EngineTarget, ...]:
        """Every target that this host can build for, without duplicates."""
        return tuple(dict.fromkeys(target for probe in self.toolchains for target in probe.targets()))

    def select(self, devices: Iterable[str]) -> tuple[EngineTarget, ...]:
        """Return the targets that `devices` name: device slugs, `rtx-portable`, or `all`.

        Several compute capabilities of TensorRT-RTX in one slug, as in `rtx-sm86-sm89`, are one target.

        Raises:
            TargetUnavailable: nothing here can build for one of the devices.
        """
        targets, missing = select((probe.offer for probe in self.toolchains), devices)
        if missing:
            raise self._unavailable(missing)
        return targets

    def choose(self, devices: Iterable[str]) -> Chosen:
        """Return the targets that `devices` name as `select` does, beside those that nothing here builds for.

        Raises:
            TargetUnavailable: none is left.
        """
        return choose((probe.offer for probe in self.toolchains), devices, self._unavailable)

    def sites_of(self, target: EngineTarget) -> tuple[BuildSite, ...]:
        """Return where `target` can be built here: one toolchain with each GPU that it can use for it.

        If this host has no GPU for the target, the result is one site without a GPU.

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
        """Return the error for devices that nothing here can build for; retryable if a driver failed."""
        devices = ", ".join(sorted({device_slug(target) for target in self.targets()})) or "nothing"
        failed = [broken.error for broken in self.broken if isinstance(broken.error, GpuUnavailable)]
        wanted, likely = f"to build for {', '.join(missing)}", "; ".join(unknown_devices(missing).values())
        if failed and not likely:
            return GpuUnavailable(wanted=wanted, found=failed[0].found, fix=failed[0].fix)
        broken = "".join(f"; {each.interpreter} is broken: {each.error.found}" for each in self.broken)
        return TargetUnavailable(
            wanted=wanted,
            found=f"this host can build for {devices}{broken}",
            fix=likely
            or "ask for one of those, or run on a host with that GPU and its toolchain in "
            "ENGINEFARM_TOOLCHAINS",
        )


def _candidates(interpreters: Iterable[str]) -> list[Toolchain]:
    installed = (flavour for flavour in Flavour if find_spec(flavour.value))
    in_farm = [Toolchain(interpreter=sys.executable, flavour=flavour) for flavour in installed]
    named = [Toolchain(interpreter=path, flavour=flavour) for path in interpreters for flavour in Flavour]
    return in_farm + named


_ASK_AGAIN_SECONDS = 60.0
_probes: dict[tuple[str, ...], tuple[HostProbe, float]] = {}  # and when, on the monotonic clock


async def probe_host(interpreters: tuple[str, ...], *, work: Workspace) -> HostProbe:
    """Run the toolchains of the farm's own environment and of `interpreters`, and return what works.

    The result is cached for this process; for a minute if a driver failed in a way that may be temporary. The
    process that builds checks the target again, and refuses to build for another one.
    """
    probe, since = _probes.get(interpreters, (None, 0.0))
    if probe is None or (_may_recover(probe) and monotonic() - since >= _ASK_AGAIN_SECONDS):
        probe = await _probe(interpreters, work)
        _probes[interpreters] = probe, monotonic()
    return probe


def _may_recover(probe: HostProbe) -> bool:
    return any(broken.error.retryable for broken in probe.broken)


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
