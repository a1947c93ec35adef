"""What is asked for in one cell."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.domain.compatibility import Compatibility
from tasks.domain.request import Calibration, Plugin, Precision, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOptions:
    """The part of a request that decides one cell. All of it is hashed into the build key.

    `shapes` are those of the first optimisation profile. Where the plan may run besides its target is in
    `compatibility`: the target is where it was built and verified.
    """

    signature: str
    precision: Precision
    shapes: Profile
    further_profiles: tuple[Profile, ...] = ()
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
