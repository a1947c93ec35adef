"""Which engine of a cell is current, after corrected requests and upgrades of the farm."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tasks.domain.cell import CellOptions
from tasks.domain.record import EngineRecord
from tasks.domain.release import Release, ReleaseRef
from tasks.domain.request import QUANTISED, BuildRequest, Precision, Shapes, TimingMode
from tasks.domain.target import EngineTarget

_ARITHMETICS = (Precision.FP32, Precision.FP16, Precision.BF16)


def answers_request(options: CellOptions, release: Release, request: BuildRequest) -> bool:
    """Return whether `options` are what `request` asks for now.

    What only the model decides is taken as it was: a signature or shapes that the request leaves out, and the
    model's own arithmetic. Targets and precisions are not compared: they are the cell.
    """
    precision = options.precision
    samples = {file.path: file.sha256 for file in release.files}.get(request.samples or "")
    return (
        request.signature in (None, options.signature)
        and _has_shapes((options.shapes, *options.further_profiles), request)
        and options.tolerance in {request.tolerance(precision, arithmetic) for arithmetic in _ARITHMETICS}
        and options.top1 == request.top1.get(precision)
        and options.samples == samples
        and (request.samples is None) == (samples is None)
        and options.calibration == (request.calibration if precision in QUANTISED else None)
        and _plan_form(options) == _plan_form(request)
        and options.timing == (request.timing if request.timing is TimingMode.REPRODUCIBLE else None)
        and options.timing_cache == request.timing_cache
    )


def _has_shapes(profiles: tuple[Shapes, ...], request: BuildRequest) -> bool:
    asked = [{**request.inputs, **profile} for profile in request.profiles or ({},)]
    return len(asked) == len(profiles) and all(
        wanted.items() <= profile.items() for wanted, profile in zip(asked, profiles, strict=True)
    )


def _plan_form(asked: CellOptions | BuildRequest) -> tuple[object, ...]:
    return (
        asked.plugins,
        asked.compatibility,
        asked.refittable,
        asked.stripped,
        asked.workspace_mib,
        asked.optimization_level,
    )


def current_engines(
    records: Iterable[EngineRecord], request_of: Callable[[ReleaseRef], BuildRequest | None]
) -> tuple[EngineRecord, ...]:
    """Return one record for each cell: the newest of those that its release's request asks for today.

    Args:
        records: of any releases.
        request_of: returns the request of a release; None if it cannot be read: the newest counts then.
    """
    cells: dict[tuple[ReleaseRef, EngineTarget, Precision], list[EngineRecord]] = {}
    for record in records:
        cell = record.release.ref, record.target, record.options.precision
        cells.setdefault(cell, []).append(record)
    requests = {ref: request_of(ref) for ref in dict.fromkeys(ref for ref, _, _ in cells)}
    return tuple(_current(engines, requests[ref]) for (ref, _, _), engines in cells.items())


def _current(engines: list[EngineRecord], request: BuildRequest | None) -> EngineRecord:
    answering = [
        engine
        for engine in engines
        if request is None or answers_request(engine.options, engine.release, request)
    ]
    return max(answering or engines, key=lambda engine: engine.created)
