"""Where on this host an engine can be run."""

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
    """Return the toolchains and GPUs that run an engine for `target`, at least one; those with pycuda first.

    Args:
        host: what was found here.
        target: what the engine was built for.
        gpu_index: the GPU to use, among the visible ones; None takes each that fits.

    Raises:
        TargetUnavailable: no toolchain here has that TensorRT, or none that has it sees such a GPU.
    """
    fitting = tuple(
        BuildSite(toolchain=probe.toolchain, gpu_index=gpu.index, gpu_uuid=gpu.uuid)
        for probe in sorted(host.toolchains, key=lambda probe: not probe.runs)
        if _is_of(probe, target)
        for gpu in probe.gpus
        if gpu_index in (None, gpu.index) and _takes(target, gpu)
    )
    if fitting:
        return fitting
    device = "GPU" if gpu_index is None else f"GPU with index {gpu_index}"
    raise TargetUnavailable(
        wanted=f"to run an engine for {device_slug(target)} with {target.flavour} {target.version}",
        found=f"no such {device} with that TensorRT on this host, which has {_found(host)}",
        fix="run this on a host with that GPU, the toolchain that built the engine in ENGINEFARM_TOOLCHAINS "
        "or given as --toolchain; `enginefarm doctor` lists what is here",
    )


def _is_of(probe: ToolchainProbe, target: EngineTarget) -> bool:
    """Say whether the toolchain has the TensorRT of `target`; the process that runs looks again."""
    wanted = target.flavour, target.version, target.os, target.architecture
    return (probe.toolchain.flavour, probe.version, probe.os, probe.architecture) == wanted


def _takes(target: EngineTarget, gpu: ProbedGpu) -> bool:
    return gpu.compute in target.compute_capabilities and target.gpu in (None, gpu.name)


def _found(host: HostProbe) -> str:
    texts = []
    for probe in host.toolchains:
        gpus = ", ".join(gpu.name for gpu in probe.gpus) or "no GPU"
        texts.append(f"{probe.toolchain.flavour} {probe.version} with {gpus}")
    return "; ".join(texts) or "no toolchain"
