"""What to build from a release; `build.yaml` is its written form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from tasks.domain.compatibility import Compatibility
from tasks.domain.priority import Priority
from tasks.domain.text_enum import StrEnum

ALL_TARGETS = "all"


class Precision(StrEnum):
    """The arithmetic of a cell; how it is reached depends on the TensorRT family."""

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"


QUANTISED = frozenset({Precision.INT8, Precision.FP8})
"""Precisions whose value ranges are measured on the release's samples."""


class Calibration(StrEnum):
    """How the value range of each quantised tensor is chosen; AUTO takes the smallest measured error."""

    AUTO = "auto"
    MINMAX = "minmax"
    ENTROPY = "entropy"
    PERCENTILE = "percentile"


class TimingMode(StrEnum):
    """Where a build gets its timings of TensorRT's kernels."""

    SHARED = "shared"
    """From all builds on the same GPU model, and shared with them: faster builds."""
    NONE = "none"
    """From no cache: every kernel is measured."""
    REPRODUCIBLE = "reproducible"
    """Only from the cache with the given digest; without a digest, the build makes such a cache."""


DEFAULT_TOLERANCES: Mapping[Precision, float] = MappingProxyType(
    # Largest |difference| to TensorFlow over largest |TensorFlow output|, per output. FP16 carries 11
    # bits and TF32 as many, BF16 8, INT8 8 and FP8 4, and errors grow with depth. Most trained
    # networks stay well below; a model with logarithms of small numbers (basic-pitch) does not in FP16.
    {
        Precision.FP32: 1e-4,
        Precision.TF32: 2e-2,
        Precision.FP16: 2e-2,
        Precision.BF16: 1e-1,
        Precision.INT8: 1e-1,
        Precision.FP8: 2e-1,
    }
)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LIBRARY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\.so(\.[0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A library with TensorRT plugins that a build may load.

    Attributes:
        library: its file name in the host's folder of libraries.
        sha256: digest of its bytes; any other file of that name is refused.
        ops: types of the TensorFlow operations that stay in the graph for it.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    library: str
    sha256: str
    ops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _LIBRARY.fullmatch(self.library):
            raise ValueError("library is the name of a file such as libroi_align.so, without folders")
        if not _DIGEST.fullmatch(self.sha256):
            raise ValueError("sha256 is the library's digest, 64 lower-case hexadecimal digits")


def _shape(description: str, batch: int) -> dict[str, Any]:
    """Return the metadata of one shape, which forms show and check."""
    return {
        "description": f"{description}; every dimension at least 1.",
        "examples": [[batch, 224, 224, 3]],
        "json_schema_extra": {"items": {"type": "integer", "minimum": 1}},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeRange:
    """The shapes of one input at run time, and the shape to optimise for.

    Attributes:
        min: smallest shape, every dimension at least 1.
        opt: the shape that kernels are chosen for.
        max: largest shape.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    min: tuple[int, ...] = field(metadata=_shape("Smallest shape", 1))
    opt: tuple[int, ...] = field(metadata=_shape("The shape to be fastest at", 8))
    max: tuple[int, ...] = field(metadata=_shape("Largest shape", 32))

    def __post_init__(self) -> None:
        if not len(self.min) == len(self.opt) == len(self.max):
            raise ValueError("min, opt and max have the same number of dimensions")
        wrong = [
            f"dimension {axis} needs 1 <= min <= opt <= max, not {low}, {best}, {high}"
            for axis, (low, best, high) in enumerate(zip(self.min, self.opt, self.max, strict=True))
            if not 1 <= low <= best <= high
        ]
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def corners(self) -> Mapping[str, tuple[int, ...]]:
        """The three shapes by name, in the order of verification."""
        return {"min": self.min, "opt": self.opt, "max": self.max}


Shapes = Mapping[str, ShapeRange]
"""An optimisation profile of TensorRT: the shapes of inputs, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What the owner of a release asks for.

    Attributes:
        signature: which signature of the SavedModel; None: its only one, or `serving_default`.
        inputs: shapes by input name; an input that is left out gets the shapes of its signature.
        profiles: several ranges of shapes, each with its own kernels. Each gives the shapes of the same
            inputs with open dimensions; the inputs in `inputs` have one range that all profiles share.
        precisions: each is one cell per target.
        targets: device names as in the store (`rtx-sm89`, `l4`, `rtx-sm86-sm89` for one plan of both),
            `rtx-portable`, or only `all`.
        tolerances: largest error against TensorFlow by precision, relative to the largest output.
        top1: smallest share of rows with TensorFlow's best class, by precision, for outputs that are scores
            of classes.
        samples: name of an `.npz` in the release with one array per input, first dimension the batch.
        calibration: how INT8 and FP8 choose their ranges, on `samples`.
        plugins: libraries that the build loads.
        compatibility: where else plans may run.
        refittable: the weights of plans can be replaced later.
        stripped: plans are stored without weights, and must be refitted with the graph's before they run.
        workspace_mib: most scratch memory that TensorRT may use on the GPU, in MiB.
        optimization_level: TensorRT's builder optimisation level, 0 (fast build) to 5 (fast engine).
        profile: whether to measure engines on their GPU; it does not change the engine.
        timing: where the build gets its timings of kernels from.
        timing_cache: SHA-256 of the cache that a reproducible build takes all timings from.
        priority: the priority of its builds on a farm; it does not change the engine.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    signature: str | None = None
    inputs: Shapes = field(default_factory=dict)
    profiles: tuple[Shapes, ...] = ()
    precisions: tuple[Precision, ...] = (Precision.FP32,)
    targets: tuple[str, ...] = (ALL_TARGETS,)
    tolerances: Mapping[Precision, float] = field(default_factory=dict)
    top1: Mapping[Precision, float] = field(default_factory=dict)
    samples: str | None = None
    calibration: Calibration = Calibration.AUTO
    plugins: tuple[Plugin, ...] = ()
    compatibility: Compatibility = field(default_factory=Compatibility)
    refittable: bool = False
    stripped: bool = False
    workspace_mib: int = 1024
    optimization_level: int = 3
    profile: bool = True
    timing: TimingMode = TimingMode.SHARED
    timing_cache: str | None = None
    priority: Priority = Priority.DEFAULT

    def __post_init__(self) -> None:
        for name, values in (("precisions", self.precisions), ("targets", self.targets)):
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} lists at least one value, and each once")
        _check_profiles(self.profiles, self.inputs)
        if any(not name.strip() for name in self.targets):
            raise ValueError("a target has a name, such as l4 or rtx-sm89")
        if ALL_TARGETS in self.targets and len(self.targets) > 1:
            raise ValueError("targets is either all or a list of devices")
        if any(not 0 < value < 1 for value in self.tolerances.values()):
            raise ValueError("a tolerance is a number above 0 and below 1: at 1, an engine of zeros passes")
        if any(not 0 <= value <= 1 for value in self.top1.values()):
            raise ValueError("a share in top1 is between 0 and 1")
        if len({plugin.library for plugin in self.plugins}) != len(self.plugins):
            raise ValueError("plugins lists each library once")
        if self.workspace_mib < 1:
            raise ValueError("workspace_mib is at least 1")
        if not 0 <= self.optimization_level <= 5:  # noqa: PLR2004 (TensorRT's own range)
            raise ValueError("optimization_level is between 0 and 5")
        _check_timing_cache(self.timing_cache)

    @property
    def plugin_ops(self) -> tuple[str, ...]:
        """TensorFlow operations that stay in the graph for a plugin, sorted."""
        return tuple(sorted({op for plugin in self.plugins for op in plugin.ops}))

    def tolerance(self, precision: Precision, arithmetic: Precision = Precision.FP32) -> float:
        """Return the largest accepted error for `precision`, relative to the largest output.

        Args:
            precision: the cell's precision.
            arithmetic: the model's own, in which TensorFlow's results are rounded. No cell can be closer to
                them than the arithmetic is to itself, so its default is the lower limit.
        """
        least = max(DEFAULT_TOLERANCES[precision], DEFAULT_TOLERANCES[arithmetic])
        return self.tolerances.get(precision, least)


def _check_profiles(profiles: tuple[Shapes, ...], inputs: Shapes) -> None:
    """Check that all profiles name the same inputs, and none of those in `inputs`."""
    for number, profile in enumerate(profiles):
        if not profile or profile.keys() != profiles[0].keys():
            raise ValueError("every profile gives shapes for the same inputs, at least one")
        if both := sorted(profile.keys() & inputs.keys()):
            raise ValueError(f"{', '.join(both)} has its shapes either in inputs or in profiles")
        if profile in profiles[:number]:
            raise ValueError("no profile is listed twice")


def _check_timing_cache(sha256: str | None) -> None:
    if sha256 is not None and not _DIGEST.fullmatch(sha256):
        raise ValueError("timing_cache is a cache's digest, 64 lower-case hexadecimal digits")
