"""Timing caches for the store's tests: their bytes are words, of which each stands for a timing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import FarmError
from tasks.domain.target import ComputeCapability, Flavour, TensorRTVersion
from tasks.domain.timing import CacheFile, TimingCacheKey, TimingRecord

H100 = TimingCacheKey(
    flavour=Flavour.TENSORRT,
    version=TensorRTVersion.parse("8.6.0.12"),
    gpu="NVIDIA H100 80GB HBM3",
    compute_capability=ComputeCapability(major=9, minor=0),
    cuda="13.0",
    os="linux",
    architecture="x86_64",
)
L4 = replace(H100, gpu="NVIDIA L4", compute_capability=ComputeCapability(major=8, minor=9))


def record_of(cache: BlobRef, made_for: TimingCacheKey = H100) -> TimingRecord:
    return TimingRecord(
        key=made_for.shared, made_for=made_for, cache=cache, attempt="a", created="2026-01-01T00:00:00+00:00"
    )


class Merger:
    """Merges caches of words, and counts how often; or fails with an error."""

    def __init__(self, folder: Path, failure: FarmError | None = None) -> None:
        self.calls = 0
        self._folder, self._failure = folder, failure

    async def __call__(self, first: CacheFile, second: CacheFile) -> CacheFile:
        self.calls += 1
        if self._failure is not None:
            raise self._failure
        words = {word for text in (first, second) for word in text.path.read_text("utf-8").split()}
        path = self._folder / f"merged-{self.calls}"
        path.write_text(" ".join(sorted(words)), "utf-8")
        return CacheFile(path=path, ref=blob_ref(path.read_bytes()))
