"""What one host shall build: references only, so that it can cross hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tasks.domain.cell import CellOptions
from tasks.domain.digest import BlobRef
from tasks.domain.keys import build_key, engine_key
from tasks.domain.record import ConversionRecord
from tasks.domain.release import Release, ReleaseRef
from tasks.domain.request import QUANTISED, BuildRequest, Precision, Shapes, TimingMode
from tasks.domain.target import EngineTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOrder:
    """One cell: a converted release on one target at one precision.

    Attributes:
        store: URL of the store that has the conversion and gets the engine.
        release: the bytes that the conversion was made from.
        conversion: digest that names the conversion's record in the store.
        build_key: digest of everything that decides the engine.
        target: where the engine shall run.
        options: what the request asks for.
        tools: versions of all tools that take part, by package; part of the build key.
        profile: whether to measure the engine on its GPU; an engine that exists already keeps its figures.
        timing: where the build gets its timings from; no part of the build key.
        input_overrides: shapes of inputs that the caller asked for instead of those in the request.
    """

    store: str
    release: Release
    conversion: str
    build_key: str
    target: EngineTarget
    options: CellOptions
    tools: Mapping[str, str]
    timing: TimingMode = TimingMode.SHARED
    profile: bool = True
    input_overrides: Shapes = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The key of the engine's record, relative to the store's root."""
        return engine_key(
            release=self.release,
            target=self.target,
            precision=self.options.precision,
            build_digest=self.build_key,
        )


def order_for(  # noqa: PLR0913 (a cell is all of these)
    *,
    store: str,
    release: Release,
    conversion: ConversionRecord,
    request: BuildRequest,
    target: EngineTarget,
    precision: Precision,
    build_tools: Mapping[str, str],
    input_overrides: Shapes | None = None,
) -> EngineOrder:
    """Return the order for one cell; `build_tools` are added to the tools of the conversion.

    `request` is what to build, with the overrides of the caller; of these `input_overrides` are the shapes.
    """
    options = cell_options(release, request, precision, conversion)
    tools = {**conversion.tools, **build_tools}
    model, opset = release.model_digest, conversion.opset
    return EngineOrder(
        store=store,
        release=release,
        conversion=conversion.key,
        build_key=build_key(model_digest=model, opset=opset, options=options, tools=tools, target=target),
        target=target,
        options=options,
        tools=tools,
        timing=request.timing,
        profile=request.profile,
        input_overrides={} if input_overrides is None else input_overrides,
    )


class ConvertedModel(Protocol):
    """What a conversion says about a model, stored or not; see `ConversionRecord`."""

    @property
    def signature(self) -> str:
        """Name of the converted signature."""

    @property
    def shapes(self) -> Shapes:
        """The shapes of every input in the first profile."""

    @property
    def further_profiles(self) -> tuple[Shapes, ...]:
        """The same for each further profile."""

    @property
    def arithmetic(self) -> Precision:
        """The model's own arithmetic."""


def cell_options(
    release: Release, request: BuildRequest, precision: Precision, model: ConvertedModel
) -> CellOptions:
    """Return what `request` asks for in one cell of the converted `model`."""
    return CellOptions(
        signature=model.signature,
        precision=precision,
        shapes=model.shapes,
        further_profiles=model.further_profiles,
        tolerance=request.tolerance(precision, model.arithmetic),
        top1=request.top1.get(precision),
        samples=release.digest_of(request.samples),
        calibration=request.calibration if precision in QUANTISED else None,
        plugins=request.plugins,
        compatibility=request.compatibility,
        refittable=request.refittable,
        stripped=request.stripped,
        workspace_mib=request.workspace_mib,
        optimization_level=request.optimization_level,
        timing=request.timing if request.timing is TimingMode.REPRODUCIBLE else None,
        timing_cache=request.timing_cache,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOutcome:
    """The outcome of one order.

    Attributes:
        key: key of the engine's record, relative to the store's root.
        plan: the engine's bytes.
        built: whether this run built it; otherwise it existed already.
    """

    key: str
    plan: BlobRef
    built: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedCell:
    """A cell that `targets: all` would include but that is impossible, with the reason.

    Attributes:
        device: the target as in requests.
        precision: the precision that it does not support.
        reason: why, for people.
    """

    device: str
    precision: Precision
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOutcome:
    """The outcome of one release: a reference for each of its cells."""

    release: ReleaseRef
    store: str
    cells: tuple[CellOutcome, ...]
    skipped: tuple[SkippedCell, ...] = ()
