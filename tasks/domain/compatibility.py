"""How far a plan reaches beyond the GPU and the TensorRT that built it, and what it leaves open."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol


class HardwareLevel(StrEnum):
    """TensorRT's hardware compatibility: on which other GPUs a plan may run."""

    NONE = "none"
    AMPERE_PLUS = "ampere_plus"
    SAME_COMPUTE_CAPABILITY = "same_compute_capability"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """Where a plan may run besides its target. It is built and verified on the target alone.

    Attributes:
        version: it also loads with later TensorRTs, as far as NVIDIA says so.
        lean_runtime: such a plan carries the runtime that later TensorRTs run it with; it is code, so who
            loads the plan must allow that. Without it, they must be given one.
        hardware: it also runs on these GPUs: all from Ampere on, or those of its compute capability.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    version: bool = False
    lean_runtime: bool = True
    hardware: HardwareLevel = HardwareLevel.NONE

    def __post_init__(self) -> None:
        if not (self.lean_runtime or self.version):
            raise ValueError("lean_runtime is left out of plans with version: true only")

    @property
    def carries_code(self) -> bool:
        """Whether the plan holds a runtime, which who loads it must allow."""
        return self.version and self.lean_runtime


class PlanForm(Protocol):
    """What can be asked of a plan besides what it computes."""

    @property
    def compatibility(self) -> Compatibility:
        """Where it may run besides its target."""

    @property
    def refittable(self) -> bool:
        """Whether it takes other weights later."""

    @property
    def stripped(self) -> bool:
        """Whether its weights are left out."""


def requested_plan_options(form: PlanForm) -> tuple[str, ...]:
    """Return what `form` asks for, by the names that the table of families has for it."""
    hardware = form.compatibility.hardware
    asked = {
        "version": form.compatibility.version,
        hardware.value: hardware is not HardwareLevel.NONE,
        "refittable": form.refittable,
        "stripped": form.stripped,
    }
    return tuple(name for name, wanted in asked.items() if wanted)
