"""What is asked for in one cell."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.domain.compatibility import Compatibility
from tasks.domain.request import Calibration, Plugin, Precision, Shapes, TimingMode


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOptions:
    """The part of a request that decides one cell. All of it is hashed into the build key.

    `shapes` are those of the first optimisation profile. Where the plan may run besides its target is in
    `compatibility`: the target is where it was built and verified. Where timings come from decides nothing
    but time, except in reproducible builds: `timing` is None in others.
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
