"""Finds the toolchains and GPUs of this host that can run an engine."""

from __future__ import annotations

from agents.hardware.probe import HostProbe
from tasks.domain.errors import TargetUnavailable
from tasks.domain.gpu_table import device_slug
from tasks.domain.target import EngineTarget
from tasks.tensorrt.site import BuildSite
from tasks.tensorrt.toolchain import ProbedGpu, ToolchainProbe


def sites_to_run(
    host: HostProbe, target: EngineTarget, *, gpu_index: int | None = None
) -> tuple[BuildSite, ...]:
    """Return at least one toolchain and GPU that can run an engine for `target`; those with pycuda first.

    Args:
        host: the probe of this host.
        target: the target that the engine was built for.
        gpu_index: the GPU to use, among the visible ones; None for every GPU that fits.

    Raises:
        TargetUnavailable: no toolchain here has that TensorRT and sees that kind of GPU.
    """
    fitting = tuple(
        BuildSite(toolchain=probe.toolchain, gpu_index=gpu.index, gpu_uuid=gpu.uuid)
        for probe in sorted(host.toolchains, key=lambda probe: not probe.runs)
        if _has_tensorrt_of(probe, target)
        for gpu in probe.gpus
        if gpu_index in (None, gpu.index) and _is_built_for(target, gpu)
    )
    if fitting:
        return fitting
    device = "GPU" if gpu_index is None else f"GPU with index {gpu_index}"
    raise TargetUnavailable(
        wanted=f"to run an engine for {device_slug(target)} with {target.flavour} {target.version}",
        found=f"no such {device} with that TensorRT on this host, which has {_describe_toolchains(host)}",
        fix="run this on a host with that GPU, and name the toolchain that built the engine in "
        "ENGINEFARM_TOOLCHAINS or with --toolchain; `enginefarm doctor` lists what is here",
    )


def _has_tensorrt_of(probe: ToolchainProbe, target: EngineTarget) -> bool:
    """Return whether the toolchain has the TensorRT of `target`; the process that runs it checks again."""
    wanted = target.flavour, target.version, target.os, target.architecture
    return (probe.toolchain.flavour, probe.version, probe.os, probe.architecture) == wanted


def _is_built_for(target: EngineTarget, gpu: ProbedGpu) -> bool:
    return gpu.compute in target.compute_capabilities and target.gpu in (None, gpu.name)


def _describe_toolchains(host: HostProbe) -> str:
    texts = []
    for probe in host.toolchains:
        gpus = ", ".join(gpu.name for gpu in probe.gpus) or "no GPU"
        texts.append(f"{probe.toolchain.flavour} {probe.version} with {gpus}")
    return "; ".join(texts) or "no toolchain"
