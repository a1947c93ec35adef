"""What a request asks for in one cell."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.domain.compatibility import Compatibility
from tasks.domain.request import Calibration, Plugin, Precision, Shapes, TimingMode


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOptions:
    """The part of a request that decides one cell. The build key covers all of it.

    `shapes` are those of the first optimisation profile. `compatibility` says where else the plan may run: it
    is built and verified on the target. Timing caches affect only build time, except in reproducible builds;
    `timing` is None in all others.
    """

    signature: str
    precision: Precision
    shapes: Shapes
    further_profiles: tuple[Shapes, ...] = ()
    tolerance: float
    top1: float | None = None
    samples: str | None
    calibration: Calibration | None = None
    plugins: tuple[Plugin, ...] = ()
    compatibility: Compatibility = field(default_factory=Compatibility)
    refittable: bool = False
    stripped: bool = False
    workspace_mib: int
    optimization_level: int
    timing: TimingMode | None = None
    timing_cache: str | None = None
