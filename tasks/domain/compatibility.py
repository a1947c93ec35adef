"""Which other GPUs and TensorRT versions a plan runs on, and whether its weights can change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from tasks.domain.text_enum import StrEnum


class HardwareLevel(StrEnum):
    """TensorRT's hardware compatibility: on which other GPUs a plan may run."""

    NONE = "none"
    AMPERE_PLUS = "ampere_plus"
    SAME_COMPUTE_CAPABILITY = "same_compute_capability"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """Where else a plan may run. It is built and verified on its target only.

    Attributes:
        version: it also loads in later TensorRT versions, as far as NVIDIA guarantees it.
        lean_runtime: a version-compatible plan contains the runtime that later TensorRT versions run it with.
            That is code, so its user must allow it. Without it, the user must supply a runtime.
        hardware: the other GPUs that it runs on: all from Ampere on, or those of its compute capability.
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
        """Whether the plan contains a runtime, which its user must allow."""
        return self.version and self.lean_runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What TensorRT reports of a finished plan, whatever was asked for.

    Attributes:
        hardware: its hardware compatibility; None if it is a level that this version does not know.
        refittable: whether its weights can be replaced.
    """

    hardware: HardwareLevel | None
    refittable: bool


class PlanForm(Protocol):
    """What a request can ask of a plan besides what it computes."""

    @property
    def compatibility(self) -> Compatibility:
        """Where else it may run."""

    @property
    def refittable(self) -> bool:
        """Whether its weights can be replaced later."""

    @property
    def stripped(self) -> bool:
        """Whether its weights are left out."""


def requested_plan_options(form: PlanForm) -> tuple[str, ...]:
    """Return what `form` asks for, in the names of the table of families."""
    hardware = form.compatibility.hardware
    asked = {
        "version": form.compatibility.version,
        hardware.value: hardware is not HardwareLevel.NONE,
        "refittable": form.refittable,
        "stripped": form.stripped,
    }
    return tuple(name for name, wanted in asked.items() if wanted)
