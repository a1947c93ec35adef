"""Putting two timing caches together, which only TensorRT can."""

from __future__ import annotations

from tasks.children.workspace import Workspace
from tasks.domain.digest import BlobRef
from tasks.domain.timing import CacheFile
from tasks.tensorrt.engine import EngineJob, build_request, child_program
from tasks.tensorrt.timing import cache_document, new_cache


async def merge_caches(job: EngineJob, first: CacheFile, second: CacheFile, *, work: Workspace) -> CacheFile:
    """Return what both caches hold, in a file of its own below `work`.

    Both were made for the target of `job`; where both have an entry, that of `first` stays.

    Raises:
        DigestMismatch: a file is not what its reference says; TensorRT has not seen it.
        BuildRefused: TensorRT does not put them together.
        FarmError: as `build_engine`, but for what is about the graph.
    """
    into = new_cache(work)
    caches = {"caches": [cache_document(first), cache_document(second)], "into": str(into)}
    program = child_program(job.toolchain, "merge_timing", job.gpu_index)
    answer = await work.run(program, build_request(job, into) | caches)
    return CacheFile(path=into, ref=BlobRef(**answer.result["merged"]))
