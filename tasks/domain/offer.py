"""What a toolchain can build, and the work pools of agents that are named after it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from tasks.domain.gpu_models import gpu_slug
from tasks.domain.gpu_table import device_slug, full_slug, gpu_table, rtx_capabilities
from tasks.domain.request import ALL_TARGETS
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion

CPU_POOL = "enginefarm-cpu"
"""The work pool for everything that needs no TensorRT: conversions, and runs that wait for builds."""

_USUAL_ARCHITECTURE = "x86_64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A TensorRT version and what it can build for.

    Attributes:
        flavour: TensorRT or TensorRT-RTX.
        version: its full version.
        gpus: model (as the driver reports it) and compute capability of each visible GPU.
        os: operating system, `linux`.
        architecture: processor architecture, `x86_64` or `aarch64`.
    """

    flavour: Flavour
    version: TensorRTVersion
    gpus: tuple[tuple[str, ComputeCapability], ...]
    os: str
    architecture: str

    def targets(self) -> tuple[EngineTarget, ...]:
        """The targets that it can build for.

        TensorRT-RTX: one target for each compute capability in the table, with or without a GPU. TensorRT:
        one for each GPU model.
        """
        devices: list[tuple[str | None, ComputeCapability]]
        if self.flavour is Flavour.RTX:
            devices = [(None, capability) for capability in gpu_table().rtx]
        else:
            devices = list(self.gpus)
        return tuple(self.target(gpu, compute) for gpu, compute in dict.fromkeys(devices))

    def builds(self, target: EngineTarget) -> bool:
        """Return whether it can build for `target`, for all of its compute capabilities."""
        single = (
            replace(target, compute_capabilities=(capability,)) for capability in target.compute_capabilities
        )
        return set(single) <= set(self.targets())

    def target(self, gpu: str | None, *compute: ComputeCapability) -> EngineTarget:
        """Return the target of that GPU model, or of compute capabilities, for this TensorRT."""
        return EngineTarget(
            flavour=self.flavour,
            version=self.version,
            gpu=gpu,
            compute_capabilities=compute,
            os=self.os,
            architecture=self.architecture,
        )


def select(
    offers: Iterable[Offer], devices: Iterable[str]
) -> tuple[tuple[EngineTarget, ...], tuple[str, ...]]:
    """Return the targets that `devices` name, and the devices that no offer builds for.

    Args:
        offers: what the toolchains can build; duplicates count once.
        devices: device slugs, `rtx-portable`, or only `all`. Several compute capabilities of TensorRT-RTX in
            one slug, as in `rtx-sm86-sm89`, are one target.
    """
    wanted, distinct = tuple(devices), tuple(dict.fromkeys(offers))
    available = tuple(dict.fromkeys(target for offer in distinct for target in offer.targets()))
    if wanted == (ALL_TARGETS,) and available:
        return available, ()
    slugs = {full_slug(device) for device in wanted}
    offered = (*available, *_portable(distinct, wanted))
    offered_slugs = set(map(device_slug, offered))
    missing = tuple(device for device in wanted if full_slug(device) not in offered_slugs)
    return tuple(target for target in dict.fromkeys(offered) if device_slug(target) in slugs), missing


def _portable(offers: Iterable[Offer], devices: Iterable[str]) -> list[EngineTarget]:
    """Return the targets of several compute capabilities that `devices` name."""
    sets = [capabilities for capabilities in map(rtx_capabilities, devices) if len(capabilities) > 1]
    rtx = [offer for offer in offers if offer.flavour is Flavour.RTX]
    return [offer.target(None, *capabilities) for capabilities in sets for offer in rtx]


def pool_of(target: EngineTarget) -> str:
    """Return the work pool that builds for `target`; its deployment has the same name.

    `gpu-h100-sxm-80gb-trt8.6.0.12`: agents with that GPU model and that TensorRT. `rtx-trt1.7.1.116`: all
    targets of TensorRT-RTX, which needs no GPU to build. A processor other than x86_64 is named at the end.
    """
    kind = "rtx" if target.gpu is None else f"gpu-{gpu_slug(target.gpu)}"
    usual = target.architecture == _USUAL_ARCHITECTURE
    return f"{kind}-trt{target.version}{'' if usual else f'-{target.architecture}'}"


def tags_of(target: EngineTarget) -> tuple[str, ...]:
    """Return the tags of a deployment that builds for `target`, for people and filters.

    They are labels only: the building process probes its own GPU and TensorRT.
    """
    if target.gpu is None:
        return ("gpu:rtx", f"trt:{target.version}")
    compute = target.compute_capabilities[0]
    return (f"gpu:{gpu_slug(target.gpu)}", f"sm:{compute.major}{compute.minor}", f"trt:{target.version}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A work pool with agents. The last of them to start wrote it into the store.

    Others read from it what can be built where: the store's records only show which engines are missing.

    Attributes:
        pool: the work pool.
        offer: what one TensorRT builds there: for one GPU model, or all targets of TensorRT-RTX.
        host: the host that wrote it.
        seen: when it was written, ISO 8601 in UTC.
        schema: the version of the document's form.
    """

    ROOT: ClassVar[str] = "targets/"

    pool: str
    offer: Offer
    host: str
    seen: str
    schema: Literal["enginefarm.announcement/1"] = "enginefarm.announcement/1"

    @property
    def key(self) -> str:
        """Its key, relative to the store's root."""
        return f"{self.ROOT}{self.pool}.json"
