"""Builds that take every kernel from one timing cache; possible from TensorRT 10 on."""

from __future__ import annotations

from typing import Any


def pin(trt: Any, config: Any, *, replay: bool) -> None:
    """Let each entry of the cache decide one kernel; with `replay` a missing entry is an error."""
    config.set_flag(trt.BuilderFlag.EDITABLE_TIMING_CACHE)
    if replay:
        config.set_flag(trt.BuilderFlag.ERROR_ON_TIMING_CACHE_MISS)


def tactics(cache: Any) -> dict[str, int]:
    """Return the kernel that each entry of `cache` decides on, by the entry's key."""
    tactics_by_key = {}
    for key in cache.queryKeys():
        entry = cache.query(key)
        tactics_by_key[str(key)] = int(entry.tacticHash)
    return tactics_by_key
