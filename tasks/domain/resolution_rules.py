"""The rules by which an engine runs on a host, as data: each row with its words and its source.

`tasks.domain.resolution` applies them. Runs on consumers: Python 3.10, the standard library alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.domain.compatibility import HardwareLevel
from tasks.domain.request import Precision
from tasks.domain.target import ComputeCapability, Flavour, TensorRTVersion
from tasks.domain.text_enum import StrEnum

_DOCS = "https://docs.nvidia.com/deeplearning/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A documented rule.

    Attributes:
        id: how reports and documents name it.
        words: what it says.
        source: where it is documented.
    """

    id: str
    words: str
    source: str


_RULES = (
    Rule(
        id="R1",
        words="A plan runs in the TensorRT that built it, in all four parts, on its GPU model.",
        source=f"{_DOCS}tensorrt/latest/reference/support-policies.html",
    ),
    Rule(
        id="R2",
        words="A plan runs on the operating system and processor architecture that it was built on.",
        source=f"{_DOCS}tensorrt/11.4.1/getting-started/support-matrix.html",
    ),
    Rule(
        id="R3",
        words="A version-compatible plan runs in later versions of the same major version.",
        source=f"{_DOCS}tensorrt/11.1.0/inference-library/engine-compatibility.html",
    ),
    Rule(
        id="R4",
        words="Across major versions, a version-compatible plan runs from 8 in 10 and from 10 in 11, only.",
        source=f"{_DOCS}tensorrt/11.4.1/getting-started/support-matrix.html",
    ),
    Rule(
        id="R5",
        words="No plan runs in an older version than the one that built it.",
        source=f"{_DOCS}tensorrt/11.1.0/inference-library/engine-compatibility.html",
    ),
    Rule(
        id="R6",
        words="Version compatibility needs 8.6 or later on both sides.",
        source=f"{_DOCS}tensorrt/10.16.1/inference-library/version-compatibility.html",
    ),
    Rule(
        id="R7",
        words="Another version runs a plan with the lean runtime inside it, which is native code that the "
        "consumer must allow, or with the lean runtime of the very version that built the plan.",
        source="NvInferRuntime.h, setEngineHostCodeAllowed and loadRuntime; a plan of 8.6.0.12 without a "
        "runtime was refused by the lean runtime 10.16.1.11",
    ),
    Rule(
        id="R8",
        words="Triton loads version-compatible plans with --backend-config=tensorrt,version-compatible=true.",
        source="https://github.com/triton-inference-server/tensorrt_backend, README.md",
    ),
    Rule(
        id="R9",
        words="The lean runtime needs a GPU from Volta on.",
        source="NvInfer.h, BuilderFlag::kVERSION_COMPATIBLE",
    ),
    Rule(
        id="R12",
        words="A plan whose hardware compatibility TensorRT reports as AMPERE_PLUS runs on every GPU of "
        "compute capability 8.0 or later, except those of Jetson and DRIVE.",
        source="NvInfer.h, HardwareCompatibilityLevel::kAMPERE_PLUS",
    ),
    Rule(
        id="R13",
        words="A plan whose hardware compatibility TensorRT reports as SAME_COMPUTE_CAPABILITY runs on every "
        "GPU of its compute capability, from Turing on.",
        source="NvInfer.h, HardwareCompatibilityLevel::kSAME_COMPUTE_CAPABILITY",
    ),
    Rule(
        id="R15",
        words="Another GPU model of the same compute capability is no reason: TensorRT only warns, and plans "
        "have failed there.",
        source="https://github.com/NVIDIA/TensorRT/issues/3829",
    ),
    Rule(
        id="R16",
        words="A plan of TensorRT-RTX runs in the very release that built it.",
        source=f"{_DOCS}tensorrt-rtx/latest/inference-library/engine-compatibility.html",
    ),
    Rule(
        id="R17",
        words="A plan of TensorRT-RTX runs on every GPU whose compute capability it was built for.",
        source=f"{_DOCS}tensorrt-rtx/latest/inference-library/cpu-engines.html",
    ),
    Rule(
        id="R20",
        words="The host's driver is at least the oldest that the CUDA of its TensorRT works with.",
        source="https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/index.html",
    ),
)

RULES = {rule.id: rule for rule in _RULES}
"""The rules that decide, by id."""


class Device(StrEnum):
    """What the GPU of the host must have in common with the plan's."""

    MODEL = "the same GPU model"
    IN_SET = "a compute capability that the plan was built for"
    SAME_CAPABILITY = "the same compute capability"
    FROM_CAPABILITY = "at least a compute capability"


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareRow:
    """How a plan may fit a GPU.

    Attributes:
        rule: the rule's id.
        flavour: of the plan.
        level: the hardware compatibility that must have been read back from the plan; None: any.
        device: what the GPUs must have in common.
        least: the lowest compute capability of the host's GPU, and of the plan's; None: any.
        never: compute capabilities for which nothing documents it.
    """

    rule: str
    flavour: Flavour
    level: HardwareLevel | None
    device: Device
    least: ComputeCapability | None = None
    never: frozenset[ComputeCapability] = frozenset()


_ON_MODULES = frozenset(map(ComputeCapability.parse, ("7.2", "8.7", "10.1", "11.0")))  # Jetson and DRIVE

HARDWARE = (
    HardwareRow(rule="R1", flavour=Flavour.TENSORRT, level=None, device=Device.MODEL),
    HardwareRow(rule="R17", flavour=Flavour.RTX, level=None, device=Device.IN_SET),
    HardwareRow(
        rule="R13",
        flavour=Flavour.TENSORRT,
        level=HardwareLevel.SAME_COMPUTE_CAPABILITY,
        device=Device.SAME_CAPABILITY,
        least=ComputeCapability(major=7, minor=5),
    ),
    HardwareRow(
        rule="R12",
        flavour=Flavour.TENSORRT,
        level=HardwareLevel.AMPERE_PLUS,
        device=Device.FROM_CAPABILITY,
        least=ComputeCapability(major=8, minor=0),
        never=_ON_MODULES,
    ),
)
"""In the order of preference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """How a plan may fit a TensorRT.

    Attributes:
        rule: the rule's id.
        flavour: of the plan.
        majors: major versions of plan and host; None: of an equal version in all four parts, or of the same
            major version if `later`.
        later: whether the host's version may be later than the plan's.
    """

    rule: str
    flavour: Flavour
    majors: frozenset[tuple[int, int]] | None = None
    later: bool = False


VERSIONS = (
    VersionRow(rule="R1", flavour=Flavour.TENSORRT),
    VersionRow(rule="R16", flavour=Flavour.RTX),
    VersionRow(rule="R3", flavour=Flavour.TENSORRT, later=True),
    VersionRow(rule="R4", flavour=Flavour.TENSORRT, majors=frozenset({(8, 10), (10, 11)}), later=True),
)
"""In the order of preference."""

FIRST_COMPATIBLE = TensorRTVersion(major=8, minor=6, patch=0, build=0)
"""The first TensorRT with version compatibility (R6)."""

FIRST_LEAN_GPU = ComputeCapability(major=7, minor=0)
"""The oldest GPU that the lean runtime runs on (R9)."""

DRIVER_FLOORS = {11: (450, 80, 2), 12: (525, 60, 13), 13: (580, 65, 6)}
"""The oldest Linux driver that each major version of CUDA works with (R20)."""

PRECISION_FLOORS = {
    Precision.TF32: ComputeCapability(major=8, minor=0),
    Precision.BF16: ComputeCapability(major=8, minor=0),
    Precision.FP8: ComputeCapability(major=8, minor=9),
}
"""The lowest compute capability with arithmetic for a precision, as in `gpus.toml`."""
