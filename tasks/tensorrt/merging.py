"""Merges two timing caches, which only TensorRT can."""

from __future__ import annotations

from tasks.children.workspace import Workspace
from tasks.domain.digest import BlobRef
from tasks.domain.timing import CacheFile
from tasks.tensorrt.engine import EngineJob, build_request, child_program
from tasks.tensorrt.timing import cache_document, new_cache


async def merge_caches(job: EngineJob, first: CacheFile, second: CacheFile, *, work: Workspace) -> CacheFile:
    """Return both caches merged, in a new file below `work`.

    Both must be for the target of `job`; if both have an entry, that of `first` stays.

    Raises:
        DigestMismatch: a file does not match its reference; TensorRT did not get it.
        BuildRefused: TensorRT refuses to merge them.
        FarmError: as `build_engine`, except for errors about the graph.
    """
    into = new_cache(work)
    caches = {"caches": [cache_document(first), cache_document(second)], "into": str(into)}
    program = child_program(job.toolchain, "merge_timing", job.gpu_index)
    answer = await work.run(program, build_request(job, into) | caches)
    return CacheFile(path=into, ref=BlobRef(**answer.result["merged"]))
