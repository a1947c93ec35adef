"""Timing caches: TensorRT's measurements of its kernels, shared by all builds on the same GPU model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tasks.domain.digest import BlobRef, document_digest
from tasks.domain.gpu_models import gpu_slug
from tasks.domain.request import TimingMode
from tasks.domain.target import ComputeCapability, EngineTarget, Flavour, TensorRTVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingCacheKey:
    """What two builds must have in common to share measurements.

    TensorRT itself only refuses the cache of another TensorRT version. It also compares the board that
    measured, but that says nothing about models. So this key keeps GPU models apart.

    Attributes:
        flavour: TensorRT or TensorRT-RTX.
        version: its full version.
        gpu: the GPU model as the driver reports it.
        compute_capability: the model's.
        cuda: the CUDA version of NVIDIA's driver. NVIDIA calls timings specific to GPU, CUDA and TensorRT.
            The rest of the driver's version is not part of the key: the timed kernels are TensorRT's own, and
            a driver update with the same CUDA would cost every host a cold build. Empty in records older
            than this field: no build reads those.
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
        """The prefix of this key's caches, relative to the store's root."""
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
    """Return why builds for `target` on a host with this CUDA have no timing cache; empty if they have."""
    if target.gpu is None:
        return "TensorRT-RTX measures no kernels while it builds: its timing cache does nothing"
    if cuda is None:
        return "this host's NVIDIA driver does not tell its version of CUDA"
    return ""


def timing_key(target: EngineTarget, cuda: str | None) -> TimingCacheKey | None:
    """Return the key of the caches for `target` with this CUDA; None if `why_untimed` gives a reason."""
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
    """A stored timing cache. Each build that adds to the shared cache replaces its record.

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
    """A timing cache on this host, and the reference to its bytes, which every reader checks."""

    path: Path
    ref: BlobRef


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingUse:
    """The timing caches of one engine.

    Attributes:
        mode: what was asked for.
        used: the cache that the build started with; None if it started without.
        left: the stored cache that has the build's measurements, and perhaps those of concurrent builds; None
            if nothing was stored.
        notes: why there was no cache, or what happened to a cache that could not be used.
    """

    mode: TimingMode
    used: BlobRef | None
    left: BlobRef | None
    notes: tuple[str, ...] = ()
