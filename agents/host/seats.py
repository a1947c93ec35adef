"""What a host has workers for: each GPU with each TensorRT that sees it, TensorRT-RTX, or conversions."""

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
class Place:
    """Where a worker belongs on this host, whatever is found there: one who looks again may find another.

    Attributes:
        label: its part of the worker's name, `gpu0` or `cpu`.
        limit: how many runs it has at a time.
        toolchain: what builds there; None where nothing does.
        gpu_uuid: the GPU that its runs see; None where they see all.
    """

    label: str
    limit: int = 1
    toolchain: Toolchain | None = None
    gpu_uuid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A worker to be: what was found at a place.

    Attributes:
        place: where.
        host: the host's name.
        pool: the work pool.
        tags: of its deployments.
        offer: what is built there, as it is announced; None where nothing is.
    """

    place: Place
    host: str
    pool: str
    tags: tuple[str, ...] = ()
    offer: Offer | None = None

    @property
    def worker(self) -> str:
        """The worker's name; no other worker of the farm has it."""
        return f"{self.host}-{self.place.label}-{self.pool}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What runs there are told of the host, beside what the agent was."""
        told = {}
        toolchain = self.place.toolchain
        if toolchain is not None:
            own = toolchain.interpreter == sys.executable  # it is always known
            told["ENGINEFARM_TOOLCHAINS"] = "" if own else toolchain.interpreter
        if self.place.gpu_uuid is not None:
            told["CUDA_VISIBLE_DEVICES"] = self.place.gpu_uuid
        return told


def cpu_places(host: HostProbe, *, releases: int, builds: int) -> tuple[Place, ...]:
    """Return the places of an agent without a GPU: conversions, and one for each TensorRT-RTX.

    Args:
        host: what was found.
        releases: how many releases may be at work at a time.
        builds: how many engines may be built at a time.
    """
    rtx = [probe for probe in host.toolchains if probe.toolchain.flavour is Flavour.RTX]
    first = {probe.version: probe.toolchain for probe in reversed(rtx)}  # of each version
    places = [Place(label="cpu", limit=builds, toolchain=one) for one in first.values()]
    return (Place(label="cpu", limit=releases), *places)


def gpu_places(host: HostProbe, indices: Collection[int] = ()) -> tuple[Place, ...]:
    """Return the places of an agent with GPUs, one for each GPU and TensorRT that sees it.

    Args:
        host: what was found.
        indices: which of the visible GPUs; none for all.

    Raises:
        TargetUnavailable: no TensorRT here sees a GPU, or one of `indices` is not there.
    """
    places = tuple(_gpu_places(host, indices))
    there = {place.label for place in places}
    missing = [f"GPU {index}" for index in indices if f"gpu{index}" not in there]
    if not places or missing:
        broken = "".join(f"; {one.interpreter}: {one.error.found}" for one in host.broken)
        names = ", ".join(str(probe.version) for probe in host.toolchains) or "no TensorRT"
        raise TargetUnavailable(
            wanted=f"{' and '.join(missing) or 'a GPU'} that a TensorRT here can build for",
            found=f"none, with {names}{broken}",
            fix="name an environment with a TensorRT in ENGINEFARM_TOOLCHAINS or as --toolchain, on a host "
            "with an NVIDIA GPU; `enginefarm doctor` shows what is here; `enginefarm agent cpu` needs no GPU",
        )
    return places


def _gpu_places(host: HostProbe, indices: Collection[int]) -> Iterator[Place]:
    """Yield each place once: of two toolchains with the same TensorRT the first serves."""
    seen = set()
    for probe in host.toolchains:
        for gpu in probe.gpus:
            place = Place(label=f"gpu{gpu.index}", toolchain=probe.toolchain, gpu_uuid=gpu.uuid)
            seat = seat_at(place, probe, host="")
            if probe.toolchain.flavour is Flavour.TENSORRT and seat is not None and seat.worker not in seen:
                seen.add(seat.worker)
                if not indices or gpu.index in indices:
                    yield place


def seat_at(place: Place, probe: ToolchainProbe | None, *, host: str) -> Seat | None:
    """Return the worker for `place`, whose toolchain turned out to be `probe`; None where its GPU is gone."""
    if probe is None:
        return Seat(place=place, host=host, pool=CPU_POOL)
    offer = probe.offer
    if place.gpu_uuid is not None:
        models = [(gpu.name, gpu.compute) for gpu in probe.gpus if gpu.uuid == place.gpu_uuid]
        offer = replace(offer, gpus=tuple(models))
    targets = offer.targets()
    if not targets:
        return None
    pool, tags = pool_of(targets[0]), tags_of(targets[0])
    return Seat(place=place, host=host, pool=pool, tags=tags, offer=offer)
