"""Timing caches as inputs and outputs of builds, and the process that merges two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.children.workspace import Workspace
from tasks.domain.digest import BlobRef
from tasks.domain.request import TimingMode
from tasks.domain.target import EngineTarget
from tasks.domain.timing import CacheFile
from tasks.tensorrt.inside.families.registry import family_of
from tasks.tensorrt.inside.timing import pinning_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingInput:
    """Where a build gets its timings from.

    Attributes:
        mode: `SHARED` or `REPRODUCIBLE`; a build without a cache has no `TimingInput`.
        cache: earlier measurements; None: the build starts without. A reproducible build with a cache takes
            every timing from it.
    """

    mode: TimingMode
    cache: CacheFile | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingOutcome:
    """The timings that a build used and wrote.

    Attributes:
        used: whether it used those that it was given.
        left: the cache that it wrote, including the given timings; None if it wrote none.
        notes: why given timings were not used.
    """

    used: bool = False
    left: CacheFile | None = None
    notes: tuple[str, ...] = ()


def check_reproducible(target: EngineTarget) -> None:
    """Refuse reproducible builds for `target` if its TensorRT has none.

    Raises:
        RequestInvalid: it has none.
        ToolchainBroken: the farm does not know the target's TensorRT family.
    """
    version = str(target.version)
    pinning_of(family_of(target.flavour.value, version), version)


def timing_request(timing: TimingInput | None, work: Workspace) -> dict[str, Any] | None:
    """Return `timing` as the building child takes it, with a new path below `work` for its cache."""
    if timing is None:
        return None
    cache = None if timing.cache is None else cache_document(timing.cache)
    return {"mode": timing.mode.value, "cache": cache, "into": str(new_cache(work))}


def read_timing(request: Mapping[str, Any] | None, document: Mapping[str, Any]) -> TimingOutcome:
    """Parse the building child's answer to `request`."""
    written = document["left"]
    return TimingOutcome(
        used=document["used"],
        left=None if written is None or request is None else _file(Path(request["into"]), written),
        notes=tuple(document["notes"]),
    )


def new_cache(work: Workspace) -> Path:
    """Return a new path for a timing cache."""
    return work.new("timing", ".cache")


def cache_document(cache: CacheFile) -> dict[str, Any]:
    """Return `cache` as a child takes it."""
    return {"path": cache.path, "sha256": cache.ref.sha256, "size": cache.ref.size}


def _file(path: Path, document: Mapping[str, Any]) -> CacheFile:
    return CacheFile(path=path, ref=BlobRef(**document))
