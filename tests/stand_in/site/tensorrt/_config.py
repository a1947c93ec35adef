"""What a build is configured by."""

from __future__ import annotations

from typing import Any

from ._base import From10, Strict
from ._enums import BuilderFlag, HardwareCompatibilityLevel, ProfilingVerbosity, Severity
from ._network import IOptimizationProfile
from ._timing import ITimingCache, empty_cache, read_cache


class IBuilderConfig(Strict):
    """A configuration; TF32 is on, as in TensorRT."""

    flags = 0
    builder_optimization_level = 3
    avg_timing_iterations = 1
    max_aux_streams = -1
    hardware_compatibility_level = HardwareCompatibilityLevel.NONE
    profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
    plugins_to_serialize: tuple[str, ...] = ()
    num_optimization_profiles = 0
    progress_monitor = From10(None)
    tiling_optimization_level = From10(0)
    max_num_tactics = From10(-1)
    l2_limit_for_tiling = From10(-1)

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self.flags = 1 << int(BuilderFlag.TF32)
        self._pools: dict[Any, int] = {}
        self._profiles: list[IOptimizationProfile] = []
        self._sources = -1
        self._cache: ITimingCache | None = None

    def set_flag(self, flag: Any) -> None:
        """Set a flag."""
        self.flags |= 1 << int(BuilderFlag(flag))

    def clear_flag(self, flag: Any) -> None:
        """Clear a flag."""
        self.flags &= ~(1 << int(BuilderFlag(flag)))

    def get_flag(self, flag: Any) -> bool:
        """Say whether a flag is set."""
        return bool(self.flags >> int(BuilderFlag(flag)) & 1)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        """Set the most memory of a kind."""
        self._pools[pool] = pool_size

    def get_memory_pool_limit(self, pool: Any) -> int:
        """Return the most memory of a kind."""
        return self._pools.get(pool, 0)

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        """Choose the libraries that kernels may come from."""
        self._sources = tactic_sources
        return True

    def get_tactic_sources(self) -> int:
        """Return the libraries that kernels may come from."""
        return self._sources

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        """Add a profile and return its index."""
        self._profiles.append(profile)
        self.num_optimization_profiles = len(self._profiles)
        return self.num_optimization_profiles - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        """Return a cache with what the bytes say; one without timings where they cannot be read."""
        if not serialized_timing_cache:
            return empty_cache()
        cache = read_cache(serialized_timing_cache)
        if cache is None:
            self._logger.log(
                Severity.ERROR, "[timingCache] the serialized timing cache is not of this TensorRT"
            )
        return cache or empty_cache()

    def set_timing_cache(self, cache: ITimingCache | None, ignore_mismatch: bool) -> bool:  # noqa: FBT001
        """Let the build use a cache."""
        if cache is not None and cache._gpu != empty_cache()._gpu and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        """Return the cache that the build uses."""
        return self._cache
