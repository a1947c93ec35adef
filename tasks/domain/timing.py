"""Timing caches: what TensorRT measured of its kernels, shared by all builds on the same GPU model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tasks.domain.digest import BlobRef, document_digest
from tasks.domain.gpu_table import gpu_slug
from tasks.domain.request import TimingMode
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingCacheKey:
    """What two builds must share so that one may use what the other measured.

    TensorRT itself refuses only a cache of another TensorRT; beyond that it compares which single board
    measured, which says nothing about models. So this key keeps GPU models apart.

    Attributes:
        flavour: the TensorRT.
        version: its full version.
        gpu: the GPU model as the driver reports it.
        compute_capability: the model's.
        cuda: the version of CUDA that NVIDIA's driver has. NVIDIA calls timings specific to GPU, CUDA and
            TensorRT. The rest of the driver's version stays out: the kernels that are timed are TensorRT's
            own, and an update of the driver that brings no other CUDA would cost every host a cold build.
            Empty in records that were written before CUDA was part of the key: no build reads those.
        os: operating system.
        architecture: processor architecture.
    """

    flavour: Flavour
    version: TensorRTVersion
    gpu: str
    compute_capability: ComputeCapability
    cuda: str = ""
    os: str
    architecture: str

    @property
    def place(self) -> str:
        """Where the caches of this key lie, relative to the store's root."""
        digest = document_digest({"kind": "timing/1"} | asdict(self))
        return f"timing/{gpu_slug(self.gpu)}/{self.version}/{digest}"

    @property
    def shared(self) -> str:
        """The key of the record of the cache that all builds share."""
        return f"{self.place}.json"

    def recorded(self, sha256: str) -> str:
        """Return the key of the record of a cache that reproducible builds name by its digest."""
        return f"{self.place}/{sha256}.json"


def why_untimed(target: EngineTarget, cuda: str | None) -> str:
    """Return why builds for `target` on a host with this CUDA have no timing cache; empty if they may."""
    if target.gpu is None:
        return "TensorRT-RTX measures no kernels while it builds: its timing cache does nothing"
    if cuda is None:
        return "this host's NVIDIA driver does not tell its version of CUDA"
    return ""


def timing_key(target: EngineTarget, cuda: str | None) -> TimingCacheKey | None:
    """Return the key of the caches for `target` with this CUDA; None where `why_untimed` says why not."""
    if target.gpu is None or cuda is None:
        return None
    return TimingCacheKey(
        flavour=target.flavour,
        version=target.version,
        gpu=target.gpu,
        compute_capability=target.compute_capabilities[0],
        cuda=cuda,
        os=target.os,
        architecture=target.architecture,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingRecord:
    """A stored timing cache. That of all builds is replaced by each that adds to it.

    Attributes:
        key: the record's key in the store, relative to its root.
        made_for: the builds that may use the cache.
        cache: its bytes, as TensorRT wrote them.
        attempt: the build that stored it last.
        created: when, UTC, ISO 8601.
    """

    ROOT: ClassVar[str] = "timing/"

    schema: Literal["enginefarm.timing/1"] = "enginefarm.timing/1"
    key: str
    made_for: TimingCacheKey
    cache: BlobRef
    attempt: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFile:
    """A timing cache on this host, and the reference of its bytes, against which every reader holds it."""

    path: Path
    ref: BlobRef


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingUse:
    """What timing caches had to do with one engine.

    Attributes:
        mode: what was asked for.
        used: the cache that the build began with; None if it began with none.
        left: the stored cache that holds what the build measured, and perhaps what others did meanwhile;
            None if nothing was kept.
        notes: why there was no cache, or what became of one that could not be used.
    """

    mode: TimingMode
    used: BlobRef | None
    left: BlobRef | None
    notes: tuple[str, ...] = ()
