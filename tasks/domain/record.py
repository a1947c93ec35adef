"""What the farm records about a conversion and about an engine.

A record states what was measured. What was not measured says `not_measured`, and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from tasks.domain.cell import CellOptions
from tasks.domain.compatibility import ReadBack
from tasks.domain.digest import BlobRef
from tasks.domain.profile import BEFORE_PROFILES, Profile
from tasks.domain.quantisation import Quantisation
from tasks.domain.release import Release
from tasks.domain.request import Precision, Shapes
from tasks.domain.target import EngineTarget, ToolchainInfo
from tasks.domain.text_enum import StrEnum
from tasks.domain.timing import TimingUse

WEIGHTS_FILE = "weights.bin"
"""The file name of a graph's external data, beside the graph."""


class Verdict(StrEnum):
    """The result of a comparison with TensorFlow."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not_measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: its name in the TensorFlow signature; an output with the name of an input ends with `_out`.
        dtype: NumPy's name of the element type.
        shape: dimensions; None if they are decided at run time.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One output at one corner of the shape ranges.

    Attributes:
        corner: `min`, `opt` or `max`; of the second profile `min 2`, `opt 2`, `max 2`, and so on; `min/opt`
            if both have the same shapes. An engine ran there in each profile that takes the shapes, and this
            is the worst result.
        output: name of the output.
        values: how many values are finite on both sides and were compared.
        max_abs: largest |difference|, in the output's own unit.
        relative: `max_abs` over the largest |TensorFlow output|.
        noise: the same figure between TensorFlow and itself, with its input moved by one rounding step of the
            model's own arithmetic; its weights moved instead, if no input is a float.
        top1: share of the clear rows with the same largest entry; None if no row is clear, or the output is
            not a list of scores.
        top1_rows: how many rows are clear: TensorFlow's two largest entries are further apart than its noise.
        probabilities: whether each of TensorFlow's rows is a distribution: none below 0, their sum 1.
        spread: how far TensorFlow's rows differ from each other, at all corners, over the largest |value|;
            None if there is one row only.
        mismatch: why no number was compared: another shape, or no such output; empty if numbers were.
    """

    corner: str
    output: str
    values: int
    max_abs: float
    relative: float
    noise: float
    top1: float | None = None
    top1_rows: int = 0
    probabilities: bool = False
    spread: float | None = None
    mismatch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether something computes what TensorFlow computes.

    Attributes:
        verdict: the result.
        compared: the two sides, with versions; empty if nothing was compared.
        inputs: where the input values came from: the release's samples, or random numbers.
        tolerance: the largest accepted `relative`.
        top1: the smallest accepted share of rows with TensorFlow's best class; None if there is no limit.
        comparisons: one per corner and output.
        reason: why it was not measured, or the reason of the verdict.
    """

    verdict: Verdict
    compared: str
    inputs: str
    tolerance: float
    top1: float | None = None
    comparisons: tuple[Comparison, ...]
    reason: str

    @property
    def worst(self) -> Comparison | None:
        """The comparison with the largest relative error."""
        return max(self.comparisons, key=lambda comparison: comparison.relative, default=None)

    @property
    def steady(self) -> tuple[str, ...]:
        """Outputs that vary less than the tolerance: a constant output would pass, too."""
        return steady_outputs(self.comparisons, self.tolerance)


def steady_outputs(comparisons: Iterable[Comparison], tolerance: float) -> tuple[str, ...]:
    """Return the outputs whose rows differ by no more than `tolerance`."""
    steady = (row.output for row in comparisons if row.spread is not None and row.spread <= tolerance)
    return tuple(dict.fromkeys(steady))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionRecord:
    """An ONNX graph made from a release; shared by every target that parses it.

    Attributes:
        key: digest of everything that the conversion depends on; also its name in the store.
        release_digest: digest of the model's bytes.
        signature: name of the converted signature.
        opset: ONNX opset of the graph.
        graph_precision: the arithmetic written into the graph: FP32, or a lower precision by casts (FP16,
            BF16) or by quantisation (INT8, FP8).
        arithmetic: the model's own: FP32, or the coarser of FP16 and BF16 that it computes in itself.
        loaded_by: which Keras loaded the model's file, and which wrote it; empty for a SavedModel, which
            needs no Keras, and in older records.
        answered_by: what gave the reference instead of TensorFlow, with its version: onnxruntime, for a model
            that is ONNX itself; empty if TensorFlow did.
        onnx: the graph.
        weights: its external data, if the graph is too large for one file; else None.
        reference: an `.npz` with inputs and TensorFlow's outputs at each corner.
        inputs: inputs in the graph's order.
        outputs: outputs in the graph's order.
        shapes: the requested shapes by input, of the first profile.
        further_profiles: the same for each further profile.
        derived_shapes: inputs whose shapes the request left out.
        plugin_ops: operations in the graph that TensorRT plugins compute.
        denied_to_model: what the kernel denied to the processes that loaded the model, of `network`, `files`,
            `processes` and `descendants`; None in records older than this field.
        verification: the graph against TensorFlow.
        quantisation: how the graph was quantised; None if it was not.
        seconds: wall time by step.
        peak_mib: peak memory of its largest child process, in MiB.
        tools: versions of the tools that took part, by package.
    """

    ROOT: ClassVar[str] = "conversions/"

    schema: Literal["enginefarm.conversion/1"] = "enginefarm.conversion/1"
    key: str
    release_digest: str
    signature: str
    opset: int
    graph_precision: Precision
    arithmetic: Precision = Precision.FP32
    loaded_by: str = ""
    answered_by: str = ""
    onnx: BlobRef
    weights: BlobRef | None = None
    reference: BlobRef
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    shapes: Shapes
    further_profiles: tuple[Shapes, ...] = ()
    derived_shapes: tuple[str, ...]
    plugin_ops: tuple[str, ...] = ()
    denied_to_model: tuple[str, ...] | None = None
    verification: Verification
    quantisation: Quantisation | None = None
    seconds: Mapping[str, float]
    peak_mib: float
    tools: Mapping[str, str]

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """All blobs of the record in the store."""
        return tuple(blob for blob in (self.onnx, self.weights, self.reference) if blob is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord:
    """An engine. It is written last and once: without this record, the engine does not exist.

    Attributes:
        key: the record's key, relative to the store's root.
        build_key: digest of release, options, tools and target; 64 hexadecimal digits.
        model: name of the model.
        version: name of the release.
        target: where the plan runs, as the building process probed it.
        toolchain: what built it.
        options: what the request asks for.
        input_overrides: shapes that the caller asked for instead of those in the request; None in records
            older than this field.
        derived_shapes: inputs whose shapes the request left out, so that they come from the signature.
        release: the bytes that it was made from.
        opset: ONNX opset of the graph. With it the build key can be recomputed from the record. None in
            records older than this field, whose key can not.
        onnx: the graph that TensorRT parsed.
        weights: the graph's external data; None if it is one file.
        reference: inputs and TensorFlow's outputs, an `.npz`.
        plan: the engine, bare.
        layers: what TensorRT's engine inspector reports about its layers, JSON; None if nothing could.
        no_layers: why there are none; empty if there are.
        read_back: what TensorRT reports of the finished plan's form; None if the plan could not be loaded
            where it was built, and in records older than this field.
        inputs: inputs of the engine.
        outputs: outputs of the engine.
        graph_verification: the ONNX graph against TensorFlow.
        quantisation: how the graph was quantised; None if it was not.
        engine_verification: the engine on its GPU against TensorFlow.
        profile: what the engine does on its GPU.
        conversion_seconds: wall time of the conversion by step, in whichever run it was made.
        seconds: wall time of this cell by step; `cell` is the sum up to the upload.
        peak_mib: peak memory of the building process on the host, in MiB.
        warnings: TensorRT's warnings during the build, shortened.
        timing: the timing caches that the build used and wrote; None in records older than caches.
        denied_to_model: what the kernel denied to the processes that loaded the model in TensorFlow, of
            `network`, `files`, `processes` and `descendants`; None in records older than this field.
        denied_to_build: the same of the process that built the plan.
        tools: versions of the tools that took part, by package.
        source_revision: git commit of the farm's code; None if unknown.
        attempt: which attempt wrote it; an attempt recognises its own record by it.
        created: when, UTC, ISO 8601.
    """

    ROOT: ClassVar[str] = "engines/"

    schema: Literal["enginefarm.engine/1"] = "enginefarm.engine/1"
    key: str
    build_key: str
    model: str
    version: str
    target: EngineTarget
    toolchain: ToolchainInfo
    options: CellOptions
    input_overrides: Shapes | None = None
    derived_shapes: tuple[str, ...]
    release: Release
    opset: int | None = None
    onnx: BlobRef
    weights: BlobRef | None = None
    reference: BlobRef
    plan: BlobRef
    layers: BlobRef | None = None
    no_layers: str = ""
    read_back: ReadBack | None = None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    graph_verification: Verification
    quantisation: Quantisation | None = None
    engine_verification: Verification
    profile: Profile = BEFORE_PROFILES
    conversion_seconds: Mapping[str, float]
    seconds: Mapping[str, float]
    peak_mib: float
    warnings: tuple[str, ...] = ()
    timing: TimingUse | None = None
    denied_to_model: tuple[str, ...] | None = None
    denied_to_build: tuple[str, ...] | None = None
    tools: Mapping[str, str]
    source_revision: str | None
    attempt: str
    created: str
