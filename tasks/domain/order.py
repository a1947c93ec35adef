"""What one host is asked to build: references only, so that it can cross hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
        store: URL of the store that holds the conversion and takes the engine.
        release: the bytes that the conversion was made from.
        conversion: digest under which the store keeps the conversion's record.
        build_key: digest of all that decides the engine.
        target: where the engine shall run.
        options: what is asked for.
        tools: versions of all that takes part, by package; part of the build key.
        profile: whether the engine is measured where its GPU is; an engine that is found keeps its figures.
        timing: where the build has its timings; no part of the build key.
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

    @property
    def key(self) -> str:
        """Where the engine's record lies, relative to the store's root."""
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
) -> EngineOrder:
    """Return the order for one cell; `build_tools` join those of the conversion."""
    options = cell_options(release, request, precision, conversion)
    tools = {**conversion.tools, **build_tools}
    digest = build_key(
        model_digest=release.model_digest,
        opset=conversion.opset,
        options=options,
        tools=tools,
        target=target,
    )
    return EngineOrder(
        store=store,
        release=release,
        conversion=conversion.key,
        build_key=digest,
        target=target,
        options=options,
        tools=tools,
        timing=request.timing,
        profile=request.profile,
    )


class ConvertedModel(Protocol):
    """What a conversion tells of a model, be it stored or not; see `ConversionRecord`."""

    @property
    def signature(self) -> str:
        """Name of the converted signature."""

    @property
    def shapes(self) -> Shapes:
        """The shapes of every input, of the first profile."""

    @property
    def further_profiles(self) -> tuple[Shapes, ...]:
        """The same for each other profile."""

    @property
    def arithmetic(self) -> Precision:
        """The model's own."""


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
    """What came of one order.

    Attributes:
        key: where the engine's record lies, relative to the store's root.
        plan: the engine's bytes.
        built: whether this run built it; otherwise it was found.
    """

    key: str
    plan: BlobRef
    built: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedCell:
    """A cell that `targets: all` would name and that cannot be, with the reason.

    Attributes:
        device: the target as requests write it.
        precision: what it cannot do.
        reason: why, for people.
    """

    device: str
    precision: Precision
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOutcome:
    """What came of one release: a reference for each of its cells."""

    release: ReleaseRef
    store: str
    cells: tuple[CellOutcome, ...]
    skipped: tuple[SkippedCell, ...] = ()
