"""The main flow: a release in S3 becomes stored engines."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect import flow, get_run_logger, runtime

from agents.probe import probe_host
from flows.build_engine import build_engine, find_engine
from flows.cell_table import show_cells
from flows.cells import cells_of
from flows.conversion_job import ConversionJob
from flows.convert_release import convert_for
from flows.fan_out import build_on_farm, runs_on_farm, targets_of_farm
from flows.overrides import AS_REQUESTED, Overrides
from flows.settings import settings
from tasks.children.workspace import workspace
from tasks.domain.errors import CellsFailed, FarmError
from tasks.domain.gpu_table import device_slug
from tasks.domain.order import CellOutcome, EngineOrder, ReleaseOutcome, SkippedCell, order_for
from tasks.domain.release import ReleaseRef
from tasks.domain.request import BuildRequest
from tasks.domain.target import EngineTarget
from tasks.fetch import fetch
from tasks.store.store import Store
from tasks.tensorrt.site import build_tools


def _run_name() -> str:
    ref: ReleaseRef = runtime.flow_run.parameters["release"]
    return f"{ref.model}-{ref.version}"


@flow(name="build-release", flow_run_name=_run_name)
async def build_release(release: ReleaseRef, overrides: Overrides = AS_REQUESTED) -> ReleaseOutcome:
    """Build every engine that the release's request asks for and that the store does not hold.

    Args:
        release: where the release lies.
        overrides: what to build instead of what the request says.

    Raises:
        FarmError: why the release cannot be built; `CellsFailed` where several cells fail.
    """
    store = settings().store_for(release)
    await asyncio.to_thread(Store.connect(store).check_conditional_writes)
    with workspace(settings().work_dir) as work:
        orders, skipped = await _orders(release, overrides, store, work)
    answers = await (build_on_farm(orders, overrides.priority) if runs_on_farm() else _build_here(orders))
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, FarmError):
            raise answer
    await show_cells(release, orders, answers)
    _raise_failures(orders, answers)
    cells = tuple(answer for answer in answers if isinstance(answer, CellOutcome))
    return ReleaseOutcome(release=release, store=store, cells=cells, skipped=skipped)


async def _orders(
    release: ReleaseRef, overrides: Overrides, store: str, work: Path
) -> tuple[tuple[EngineOrder, ...], tuple[SkippedCell, ...]]:
    """Fetch and convert the release; return one order for each cell, and the cells that cannot be."""
    fetched = await fetch(release, work / "release")
    request = overrides.applied_to(fetched.request)
    cells, skipped = cells_of(request, await _targets(request, store, work))
    for one in skipped:
        get_run_logger().warning("skipped %s %s: %s", one.device, one.precision, one.reason)
    job = ConversionJob(fetched=fetched, request=request, store=store, work=work)
    graphs = await convert_for(job, cells)
    for graph in {graph.key: graph for graph in graphs.values()}.values():
        for name in graph.derived_shapes:
            get_run_logger().info(
                "shapes of input %s, derived from its signature: %s", name, graph.shapes[name]
            )
    orders = tuple(
        order_for(
            store=store,
            release=fetched.release,
            conversion=graphs[target, precision],
            request=request,
            target=target,
            precision=precision,
            build_tools=build_tools(),
        )
        for target, precision in graphs
    )
    return orders, skipped


async def _targets(request: BuildRequest, store: str, work: Path) -> tuple[EngineTarget, ...]:
    """Return what `request` names, of what agents build; of what this host builds where there are none."""
    if runs_on_farm():
        return await targets_of_farm(store, request.targets)
    host = await probe_host(settings().interpreters, workdir=work, limits=settings().limits)
    return host.select(request.targets)


async def _build_here(orders: tuple[EngineOrder, ...]) -> list[CellOutcome | BaseException]:
    """Build what is missing, a few at a time. One failing cell does not stop the others."""
    gate = asyncio.Semaphore(settings().parallel_builds)

    async def one(order: EngineOrder) -> CellOutcome:
        found = await find_engine(order)
        if found is not None:
            return found
        async with gate:
            return await build_engine(order)

    return await asyncio.gather(*(one(order) for order in orders), return_exceptions=True)


def _raise_failures(orders: tuple[EngineOrder, ...], answers: list[CellOutcome | BaseException]) -> None:
    """Raise the one error there is, or one that lists them all."""
    pairs = zip(orders, answers, strict=True)
    failed = [(order, answer) for order, answer in pairs if isinstance(answer, FarmError)]
    if len(failed) == 1:
        raise failed[0][1]
    if failed:
        lines = [
            f"{device_slug(order.target)} {order.options.precision}: {type(error).__name__}: {error}"
            for order, error in failed
        ]
        raise CellsFailed(
            wanted="every cell that the request asks for",
            found=f"{len(failed)} failed:\n" + "\n".join(lines),
            fix="see each cell's own advice; the others are stored and will be found next time",
        )
