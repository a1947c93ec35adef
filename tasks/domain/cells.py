"""Which cells a request comes to on the targets of a host or farm, and what came of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from tasks.domain.errors import FarmError, RequestInvalid, TargetUnavailable
from tasks.domain.gpu_table import device_slug, unsupported_plan_option, unsupported_precision
from tasks.domain.order import CellOutcome, EngineOrder, SkippedCell
from tasks.domain.request import ALL_TARGETS, QUANTISED, BuildRequest, Precision, TimingMode
from tasks.domain.target import EngineTarget

Cell = tuple[EngineTarget, Precision]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellAnswer:
    """What came of one cell.

    Attributes:
        order: the cell.
        outcome: its engine, or why there is none.
        run: the flow run that was asked for it on a farm; None if none was.
    """

    order: EngineOrder
    outcome: CellOutcome | FarmError
    run: UUID | None = None


async def answers_to(
    orders: tuple[EngineOrder, ...], answer: Callable[[EngineOrder], Awaitable[CellAnswer]]
) -> tuple[CellAnswer, ...]:
    """Return what `answer` says of each order, in their order. All come to their end, whatever one does.

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
    """Return the cells to build, and those that no hardware or TensorRT can do.

    Raises:
        RequestInvalid: INT8 or FP8 is asked for without samples, or a timing cache is named for builds that
            use others.
        TargetUnavailable: no cell is left, or the request itself names a target for one that cannot be.
    """
    check_request(request)
    cells: list[Cell] = []
    skipped: list[SkippedCell] = []
    for target in targets:
        for precision in request.precisions:
            reason = unsupported_precision(target, precision) or unsupported_plan_option(target, request)
            if reason is None:
                cells.append((target, precision))
            else:
                skipped.append(SkippedCell(device=device_slug(target), precision=precision, reason=reason))
    if not cells or (skipped and ALL_TARGETS not in request.targets):
        raise TargetUnavailable(
            wanted=f"engines in {', '.join(request.precisions)} for {', '.join(request.targets)}",
            found="; ".join(f"{cell.device} {cell.precision}: {cell.reason}" for cell in skipped),
            fix="ask for another precision, for other plans, or for other targets; `targets: all` leaves out "
            "what cannot be",
        )
    return tuple(cells), tuple(skipped)


def check_request(request: BuildRequest) -> None:
    """Refuse keys that do not go together.

    Raises:
        RequestInvalid: INT8 or FP8 without samples, or a timing cache for builds that use others.
    """
    if request.samples is None and not QUANTISED.isdisjoint(request.precisions):
        raise RequestInvalid(
            wanted="`samples` in build.yaml: int8 and fp8 measure ranges of values and errors on them",
            found="none",
            fix="add an .npz with one array per input to the release and name it, or ask for others",
        )
    if request.timing_cache is not None and request.timing is not TimingMode.REPRODUCIBLE:
        raise RequestInvalid(
            wanted="`timing: reproducible` in build.yaml: only such builds take a timing cache by its digest",
            found=f"`timing: {request.timing}` and `timing_cache: {request.timing_cache}`",
            fix="write `timing: reproducible`, or take timing_cache out",
        )
