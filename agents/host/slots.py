"""Worker slots of a host: for each GPU and each TensorRT that sees it, TensorRT-RTX, and conversions."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from agents.hardware.probe import HostProbe
from tasks.domain.errors import TargetUnavailable
from tasks.domain.offer import CPU_POOL, Offer, pool_of, tags_of
from tasks.domain.target import Flavour
from tasks.tensorrt.toolchain import Toolchain, ToolchainProbe


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSlot:
    """A slot for one worker. Re-probing may put a different toolchain into the same slot.

    Attributes:
        label: its part of the worker's name, `gpu0` or `cpu`.
        limit: how many runs the worker executes at a time.
        toolchain: what builds in the slot; None for conversions.
        gpu_uuid: the GPU that its runs see; None if they see all.
    """

    label: str
    limit: int = 1
    toolchain: Toolchain | None = None
    gpu_uuid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """The worker to start in a slot, according to the last probe.

    Attributes:
        slot: where it runs.
        host: the host's name.
        pool: the work pool.
        tags: the tags of its deployments.
        offer: the targets that it announces; None for conversions.
    """

    slot: WorkerSlot
    host: str
    pool: str
    tags: tuple[str, ...] = ()
    offer: Offer | None = None

    @property
    def worker(self) -> str:
        """The worker's name, unique on the farm."""
        return f"{self.host}-{self.slot.label}-{self.pool}"

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables of its runs, on top of the agent's own."""
        variables = {}
        toolchain = self.slot.toolchain
        if toolchain is not None:
            is_ours = toolchain.interpreter == sys.executable  # always known
            variables["ENGINEFARM_TOOLCHAINS"] = "" if is_ours else toolchain.interpreter
        if self.slot.gpu_uuid is not None:
            variables["CUDA_VISIBLE_DEVICES"] = self.slot.gpu_uuid
        return variables


def cpu_slots(host: HostProbe, *, releases: int, builds: int) -> tuple[WorkerSlot, ...]:
    """Return the slots of an agent without a GPU: one for conversions, and one for each TensorRT-RTX.

    Args:
        host: the probe of this host.
        releases: how many releases may be converted at a time.
        builds: how many engines may be built at a time.
    """
    rtx = [probe for probe in host.toolchains if probe.toolchain.flavour is Flavour.RTX]
    first = {probe.version: probe.toolchain for probe in reversed(rtx)}  # of each version
    slots = [WorkerSlot(label="cpu", limit=builds, toolchain=toolchain) for toolchain in first.values()]
    return (WorkerSlot(label="cpu", limit=releases), *slots)


def gpu_slots(host: HostProbe, indices: Collection[int] = ()) -> tuple[WorkerSlot, ...]:
    """Return the slots of an agent with GPUs: one for each GPU and each TensorRT that sees it.

    Args:
        host: the probe of this host.
        indices: which of the visible GPUs; empty for all.

    Raises:
        TargetUnavailable: no TensorRT here sees a GPU, or one of `indices` is not there.
    """
    slots = tuple(_gpu_slots(host, indices))
    there = {slot.label for slot in slots}
    missing = [f"GPU {index}" for index in indices if f"gpu{index}" not in there]
    if not slots or missing:
        problems = "".join(f"; {broken.interpreter}: {broken.error.found}" for broken in host.broken)
        names = ", ".join(str(probe.version) for probe in host.toolchains) or "no TensorRT"
        raise TargetUnavailable(
            wanted=f"{' and '.join(missing) or 'a GPU'} that a TensorRT here can build for",
            found=f"none, with {names}{problems}",
            fix="name an environment with a TensorRT in ENGINEFARM_TOOLCHAINS or as --toolchain, on a host "
            "with an NVIDIA GPU; `enginefarm doctor` shows what is here; `enginefarm agent cpu` needs no GPU",
        )
    return slots


def _gpu_slots(host: HostProbe, indices: Collection[int]) -> Iterator[WorkerSlot]:
    """Yield each slot once. Of two toolchains with the same TensorRT, the first counts."""
    seen = set()
    for probe in host.toolchains:
        for gpu in probe.gpus:
            slot = WorkerSlot(label=f"gpu{gpu.index}", toolchain=probe.toolchain, gpu_uuid=gpu.uuid)
            spec = spec_at(slot, probe, host="")
            if probe.toolchain.flavour is Flavour.TENSORRT and spec is not None and spec.worker not in seen:
                seen.add(spec.worker)
                if not indices or gpu.index in indices:
                    yield slot


def spec_at(slot: WorkerSlot, probe: ToolchainProbe | None, *, host: str) -> WorkerSpec | None:
    """Return the worker for `slot` after `probe` of its toolchain; None if its GPU is missing."""
    if probe is None:
        return WorkerSpec(slot=slot, host=host, pool=CPU_POOL)
    offer = probe.offer
    if slot.gpu_uuid is not None:
        models = [(gpu.name, gpu.compute) for gpu in probe.gpus if gpu.uuid == slot.gpu_uuid]
        offer = replace(offer, gpus=tuple(models))
    targets = offer.targets()
    if not targets:
        return None
    pool, tags = pool_of(targets[0]), tags_of(targets[0])
    return WorkerSpec(slot=slot, host=host, pool=pool, tags=tags, offer=offer)
