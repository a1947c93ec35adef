"""The cells of a request on the targets of a host or farm, and the outcome of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from tasks.domain.errors import CellsFailed, FarmError, RequestInvalid, TargetUnavailable, ToolchainBroken
from tasks.domain.gpu_table import device_slug, unsupported_plan_option, unsupported_precision
from tasks.domain.offer import Offer, select
from tasks.domain.order import CellOutcome, EngineOrder, SkippedCell
from tasks.domain.request import ALL_TARGETS, QUANTISED, BuildRequest, Precision, TimingMode
from tasks.domain.target import EngineTarget, TensorRTVersion

Cell = tuple[EngineTarget, Precision]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellAnswer:
    """The outcome of one cell.

    Attributes:
        order: the cell.
        outcome: its engine, or the error why it has none.
        run: the flow run on a farm that builds it; None if there is none.
    """

    order: EngineOrder
    outcome: CellOutcome | FarmError
    run: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostCell:
    """A cell without an order.

    Attributes:
        device: the target as in requests.
        precision: the cell's precision; None for all precisions of the target.
        error: why it has no order.
        version: the target's TensorRT; None if no toolchain offers the device.
    """

    device: str
    precision: Precision | None
    error: FarmError
    version: TensorRTVersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The targets of a request on a host or farm.

    Attributes:
        targets: those that a toolchain can build for; at least one.
        lost: the devices that no toolchain builds for.
    """

    targets: tuple[EngineTarget, ...]
    lost: tuple[LostCell, ...] = ()


def choose(
    offers: Iterable[Offer],
    devices: Iterable[str],
    unavailable: Callable[[tuple[str, ...]], FarmError],
) -> Chosen:
    """Return the targets that `devices` name among `offers`, and the devices without an offer.

    Args:
        offers: what the toolchains can build.
        devices: as in requests, see `select`.
        unavailable: returns the error for devices that no toolchain builds for.

    Raises:
        FarmError: that of `unavailable`, if no target remains.
    """
    targets, missing = select(offers, devices)
    if not targets:
        raise unavailable(missing)
    lost = (LostCell(device=name, precision=None, error=unavailable((name,))) for name in missing)
    return Chosen(targets=targets, lost=tuple(lost))


async def answers_to(
    orders: tuple[EngineOrder, ...], answer: Callable[[EngineOrder], Awaitable[CellAnswer]]
) -> tuple[CellAnswer, ...]:
    """Return what `answer` returns for each order, in order. All run to their end, even if one raises.

    Raises:
        Exception: what `answer` raised.
    """
    results = await asyncio.gather(*map(answer, orders), return_exceptions=True)
    answers = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        answers.append(result)
    return tuple(answers)


def cells_of(
    request: BuildRequest, targets: tuple[EngineTarget, ...]
) -> tuple[tuple[Cell, ...], tuple[SkippedCell, ...]]:
    """Return the cells to build, and the cells that no hardware or TensorRT supports; see `refused_cells`.

    Raises:
        RequestInvalid: INT8 or FP8 is asked for without samples, or builds that are not reproducible name a
            timing cache.
        TargetUnavailable: no cell remains.
    """
    check_request(request)
    cells: list[Cell] = []
    skipped: list[SkippedCell] = []
    for target in targets:
        for precision in request.precisions:
            reason = _why_impossible(target, precision, request)
            if reason is None:
                cells.append((target, precision))
            else:
                skipped.append(SkippedCell(device=device_slug(target), precision=precision, reason=reason))
    if not cells:
        raise TargetUnavailable(
            wanted=f"engines in {', '.join(request.precisions)} for {', '.join(request.targets)}",
            found="; ".join(f"{cell.device} {cell.precision}: {cell.reason}" for cell in skipped),
            fix="ask for another precision, for other plans, or for other targets; `targets: all` leaves out "
            "cells that are impossible",
        )
    return tuple(cells), tuple(skipped)


def _why_impossible(target: EngineTarget, precision: Precision, request: BuildRequest) -> str | None:
    try:
        return unsupported_precision(target, precision) or unsupported_plan_option(target, request)
    except ToolchainBroken as error:  # a family that the farm does not know
        return f"{error.found}: {error.fix}"


def refused_cells(request: BuildRequest, skipped: Iterable[SkippedCell]) -> tuple[LostCell, ...]:
    """Return those of `skipped` that the request names itself. With `targets: all` it names none."""
    if ALL_TARGETS in request.targets:
        return ()
    return tuple(
        LostCell(
            device=cell.device,
            precision=cell.precision,
            error=TargetUnavailable(
                wanted=f"an engine in {cell.precision} for {cell.device}",
                found=cell.reason,
                fix="remove it, or ask for other plans; `targets: all` leaves out cells that are impossible",
            ),
        )
        for cell in skipped
    )


def failure_of(answers: Iterable[CellAnswer], lost: Iterable[LostCell]) -> FarmError | None:
    """Return why cells failed: an error that lists them, or their error if all have the same one.

    Returns:
        None if no cell failed.
    """
    failed = [(answer.order, answer.outcome) for answer in answers if isinstance(answer.outcome, FarmError)]
    cells = [
        LostCell(
            device=device_slug(order.target),
            precision=order.options.precision,
            error=error,
            version=order.target.version,
        )
        for order, error in failed
    ]
    cells = [*lost, *cells]
    built = sum(isinstance(answer.outcome, CellOutcome) for answer in answers)
    errors = _by_name(cells)
    if not errors:
        return None
    first, *others = errors.values()
    if not built and all(error.to_document() == first.to_document() for error in others):
        return first
    return CellsFailed(
        wanted="every cell that the request asks for",
        found=f"{len(errors)} failed, {built} stored:\n{listed_errors(errors)}",
        fix="follow the advice for each cell; stored engines are found next time",
        cells=errors,
    )


def listed_errors(errors: Mapping[str, FarmError]) -> str:
    """Return a line for each error, with its cell's name and its class."""
    return "\n".join(f"{cell}: {error.class_name}: {error}" for cell, error in errors.items())


def _by_name(cells: Iterable[LostCell]) -> dict[str, FarmError]:
    """Return the errors by the cell's name for people, with TensorRT's version if two would be the same."""
    listed = list(cells)
    versions: dict[str, set[TensorRTVersion | None]] = {}
    for cell in listed:
        versions.setdefault(cell.device, set()).add(cell.version)
    names = {}
    for cell in listed:
        several = len(versions[cell.device]) > 1 and cell.version is not None
        device = f"{cell.device}/{cell.version}" if several else cell.device
        names[f"{device} {cell.precision or ''}".strip()] = cell.error
    return names


def check_request(request: BuildRequest) -> None:
    """Check that the keys of `request` go together.

    Raises:
        RequestInvalid: INT8 or FP8 without samples, or a timing cache for builds that are not reproducible.
    """
    if request.samples is None and not QUANTISED.isdisjoint(request.precisions):
        raise RequestInvalid(
            wanted="`samples` in build.yaml: int8 and fp8 measure value ranges and errors on them",
            found="none",
            fix="add an .npz with one array per input to the release and name it, or ask for others",
        )
    if request.timing_cache is not None and request.timing is not TimingMode.REPRODUCIBLE:
        raise RequestInvalid(
            wanted="`timing: reproducible` in build.yaml: only such builds take a timing cache by its digest",
            found=f"`timing: {request.timing}` and `timing_cache: {request.timing_cache}`",
            fix="write `timing: reproducible`, or remove timing_cache",
        )
