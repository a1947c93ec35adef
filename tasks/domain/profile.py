"""What an engine does on its GPU: how long it takes, how much memory it needs, where the time goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tasks.domain.digest import BlobRef
from tasks.domain.quiet import Quiet

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Measured(StrEnum):
    """Whether there are figures."""

    MEASURED = "measured"
    NOT_MEASURED = "not_measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long one inference takes, in ms; percentiles by nearest rank, see `tasks.domain.statistics`."""

    min: float
    mean: float
    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """The engine at one choice of input shapes.

    Attributes:
        name: the corners with these shapes (`min`, `opt`, `max`, `min/opt`), or `batch N` between them.
        shapes: shapes by input.
        batch: the first dimension that all inputs with a dynamic one share, or that all inputs have in
            common; None if there is none.
        iterations: how many inferences `gpu_ms` is of.
        gpu_ms: on the GPU, between CUDA events around each inference; they follow each other without a pause.
        wall_ms: on the host, each inference enqueued and waited for; inputs lie on the GPU already.
        items_per_second: inferences back to back, times the batch (times 1 without one).
        over_bare: by which share an inference takes longer back to back than in a bare loop of TensorRT's
            own call, in turns with it in the same process: 0.01 is 1 %; below 0 it was faster.
        drift: by which share the median of the last third of the times on the GPU is above the first's.
        steady: whether the times had settled before any was taken.
        layers_ms: the sum of all layers, from a run of its own; None where TensorRT did not tell.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    batch: int | None
    iterations: int
    gpu_ms: Latency
    wall_ms: Latency
    items_per_second: float
    over_bare: float
    drift: float
    steady: bool
    layers_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """One layer as TensorRT names it: its mean time in ms, and its share of all layers (0 to 1)."""

    name: str
    ms: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """Memory of the GPU in MiB, of all processes together.

    Attributes:
        total: all there is.
        free_before: what was free before the engine was loaded, this process' CUDA context in place.
        free_least: the least that was free while it ran.
        scratch: what the engine itself says that it needs for activations at its largest shapes.
    """

    total: float
    free_before: float
    free_least: float
    scratch: float

    @property
    def used(self) -> float:
        """What the engine with all its tensors took at most, in MiB."""
        return self.free_before - self.free_least


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What the driver said while the engine ran; None if it does not say.

    Attributes:
        sm_mhz: lowest and highest clock of the processors.
        memory_mhz: lowest and highest clock of the memory.
        temperature_c: highest temperature.
        power_w: highest power.
        throttled: why the clocks were held back, as NVIDIA calls it.
    """

    sm_mhz: tuple[int, int] | None
    memory_mhz: tuple[int, int] | None
    temperature_c: int | None
    power_w: float | None
    throttled: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The figures of one engine on one GPU, or the statement that there are none.

    Attributes:
        state: whether something was measured.
        reason: why not, and what was left out; empty where all was measured.
        gpu: the GPU as the driver reports it.
        tensorrt: TensorRT that ran the engine, four parts.
        driver: NVIDIA's driver; None if it does not say.
        cases: from the smallest shapes to the largest.
        layers: those that take longest at `opt`.
        layer_count: how many layers there are.
        memory: None if nothing was measured.
        quiet: whether the GPU had nothing else to do; None if nothing was measured.
        clocks: None if nothing was measured.
        seconds: wall time of the measurement.
        files: by name, what is too large for a record: `profile.json` with every layer of every case and what
            the driver said when; charts as SVG and PNG.
    """

    state: Measured
    reason: str
    gpu: str = ""
    tensorrt: str = ""
    driver: str | None = None
    cases: tuple[Case, ...] = ()
    layers: tuple[LayerTime, ...] = ()
    layer_count: int = 0
    memory: GpuMemory | None = None
    quiet: Quiet | None = None
    clocks: Clocks | None = None
    seconds: float = 0.0
    files: Mapping[str, BlobRef] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.files:
            if not _FILE_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no plain name of a file")


def not_profiled(reason: str) -> Profile:
    """Return the statement that nothing was measured, with its reason."""
    return Profile(state=Measured.NOT_MEASURED, reason=reason)


BEFORE_PROFILES = not_profiled("the record is of a time before engines were measured")
"""What records without a profile say."""
