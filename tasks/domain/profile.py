"""What an engine does on its GPU: how long it takes, how much memory it needs, where the time goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.domain.digest import BlobRef
from tasks.domain.quiet import Quiet
from tasks.domain.text_enum import StrEnum

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Measured(StrEnum):
    """Whether figures were measured."""

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
    """The engine at one set of input shapes.

    Attributes:
        name: the corners with these shapes (`min`, `opt`, `max`, `min/opt`), or `batch N` between them.
        shapes: shapes by input.
        batch: the first dimension that all inputs with a dynamic one share, or that all inputs have in
            common; None if there is none.
        iterations: the number of inferences behind `gpu_ms`.
        gpu_ms: on the GPU, between CUDA events around each inference; they run without pauses between them.
        wall_ms: on the host, each inference enqueued and waited for; inputs are on the GPU already.
        items_per_second: inferences back to back, times the batch (times 1 without a batch).
        over_bare: by which share an inference takes longer back to back than in a bare loop of TensorRT's
            own call, both in turns in the same process: 0.01 is 1 %; below 0 it was faster.
        drift: by which share the last third's median time on the GPU is above that of the first third.
        steady: whether the times had settled before the measurement began.
        layers_ms: the sum over all layers, from a separate run; None if TensorRT did not report it.
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
    """A layer by TensorRT's name: its mean time in ms, and its share of all layers (0 to 1)."""

    name: str
    ms: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """Memory of the GPU in MiB, over all processes.

    Attributes:
        total: the GPU's memory.
        free_before: free memory before the engine was loaded, after this process created its CUDA context.
        free_least: the least free memory while it ran.
        scratch: what the engine reports as its need for activations at its largest shapes.
    """

    total: float
    free_before: float
    free_least: float
    scratch: float

    @property
    def used(self) -> float:
        """The most memory that the engine took with all its tensors, in MiB."""
        return self.free_before - self.free_least


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """What the driver reported while the engine ran; None if it does not report it.

    Attributes:
        sm_mhz: lowest and highest clock of the processors.
        memory_mhz: lowest and highest clock of the memory.
        temperature_c: highest temperature in °C.
        power_w: highest power in W.
        throttled: why the clocks were throttled, in NVIDIA's terms.
    """

    sm_mhz: tuple[int, int] | None
    memory_mhz: tuple[int, int] | None
    temperature_c: int | None
    power_w: float | None
    throttled: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The figures of one engine on one GPU, or the reason why there are none.

    Attributes:
        state: whether something was measured.
        reason: why not, and what was left out; empty if everything was measured.
        gpu: the GPU as the driver reports it.
        tensorrt: TensorRT that ran the engine, four parts.
        driver: version of NVIDIA's driver; None if it does not report it.
        cases: from the smallest shapes to the largest.
        layers: those that take longest at `opt`.
        layer_count: the number of layers.
        memory: None if nothing was measured.
        quiet: whether the GPU had nothing else to do; None if nothing was measured.
        clocks: None if nothing was measured.
        seconds: wall time of the measurement.
        files: by name, what is too large for a record: `profile.json` with every layer of every case and the
            driver's reports over time; charts as SVG and PNG.
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
                raise ValueError(f"{name!r} is not a plain file name")


def not_profiled(reason: str) -> Profile:
    """Return a profile that says why nothing was measured."""
    return Profile(state=Measured.NOT_MEASURED, reason=reason)


BEFORE_PROFILES = not_profiled("the record is older than measurements of engines")
"""The profile in records that have none."""
