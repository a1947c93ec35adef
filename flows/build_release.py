"""The main flow: a release in S3 becomes stored engines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from prefect import flow, get_run_logger, runtime, tags
from pydantic import Field

from agents.hardware.probe import probe_host
from agents.server.flow_runs import cell_tags, release_run_name, release_tags
from flows.addresses import release_at
from flows.build_engine import build_engine
from flows.pages.cells import show_cells
from flows.pages.failure import failure_on_run_page
from flows.release.conversion import convert_for
from flows.release.farm import build_on_farm, runs_on_farm, targets_of_farm
from flows.release.signing import signed_answers
from flows.server.flow_errors import fails_with_its_error
from flows.server.run_tags import tag_run
from flows.server.step_log import log_step
from flows.settings import settings
from tasks.children.workspace import Workspace
from tasks.conversion_job import ConversionJob
from tasks.domain.cells import (
    Cell,
    CellAnswer,
    Chosen,
    LostCell,
    answers_to,
    cells_of,
    failure_of,
    refused_cells,
)
from tasks.domain.errors import FarmError
from tasks.domain.gpu_table import device_slug
from tasks.domain.order import CellOutcome, EngineOrder, ReleaseOutcome, SkippedCell, order_for
from tasks.domain.overrides import AS_REQUESTED, Overrides
from tasks.domain.priority import Priority
from tasks.domain.record import ConversionRecord
from tasks.domain.release import REQUEST_FILE, ReleaseRef
from tasks.domain.request import BuildRequest
from tasks.domain.step_text import fetched_text
from tasks.fetch import FetchedRelease, fetch
from tasks.find import find_engine
from tasks.publish import keep_request, publish_release
from tasks.step import steps_of
from tasks.store.patience import be_patient, retry_while_s3_is_down
from tasks.store.store import Store
from tasks.tensorflow.models import conversion_tools
from tasks.tensorrt.site import build_tools

ReleaseUrl = Annotated[
    str,
    Field(
        title="URL",
        description="URL of the release: s3://BUCKET/PREFIX/MODEL/VERSION.",
        pattern=r"^s3://[a-z0-9][a-z0-9.-]+/.+/.+$",
        examples=["s3://my-bucket/models/resnet/v7"],
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a release comes to.

    Attributes:
        orders: one for each cell that has a graph.
        lost: cells that nothing is ordered for, though the request asks for them.
        skipped: cells that cannot be, of `targets: all`.
        priority: how soon a farm builds the orders.
    """

    orders: tuple[EngineOrder, ...]
    lost: tuple[LostCell, ...]
    skipped: tuple[SkippedCell, ...]
    priority: Priority


def _run_name() -> str:
    return release_run_name(_ref_of(runtime.flow_run.parameters["release"]))


def _ref_of(release: ReleaseRef | str) -> ReleaseRef:
    return release_at(release) if isinstance(release, str) else release


@flow(name="build-release", flow_run_name=_run_name)
@fails_with_its_error
async def build_release(
    release: ReleaseRef | ReleaseUrl, overrides: Overrides = AS_REQUESTED
) -> ReleaseOutcome:
    """Build every engine that the release's request asks for and that the store does not have.

    Args:
        release: the place of the release in S3: its parts, or its URL.
        overrides: what to build instead of what the request says.

    Raises:
        FarmError: why nothing of the release can be built; `CellsFailed` if some of its cells fail.
    """
    if runs_on_farm():
        be_patient(settings().s3_patience_seconds)
    release = _ref_of(release)
    await tag_run(*release_tags(release))
    async with failure_on_run_page():
        store = settings().store_for(release)
        await retry_while_s3_is_down(Store.connect(store).check_conditional_writes)
        with settings().workspace() as work:
            asked = await _asked(release, overrides, store, work)
    if runs_on_farm():
        answers = await build_on_farm(store, asked.orders, asked.priority)
    else:
        answers = await _build_here(asked.orders)
    answers = await signed_answers(store, answers, settings().signing_key)
    await show_cells(release, answers, asked.lost)
    failure = failure_of(answers, asked.lost)
    if failure is not None:
        raise failure
    cells = tuple(answer.outcome for answer in answers if isinstance(answer.outcome, CellOutcome))
    return ReleaseOutcome(release=release, store=store, cells=cells, skipped=asked.skipped)


async def _fetched(release: ReleaseRef, store: str, work: Workspace) -> FetchedRelease:
    """Fetch the release, and record its digests for hosts that cannot read it."""
    with steps_of(f"{release.model} {release.version}"):
        fetched = await fetch(release, work.folder / "release")
    log_step(fetched_text(fetched.release))
    await publish_release(store, fetched.release, fetched.request_file, settings().signing_key)
    if (refused := await keep_request(release, fetched.request_file)) is not None:
        log_step(f"requests/ lacks this {REQUEST_FILE}: {refused.found}")
    return fetched


async def _asked(release: ReleaseRef, overrides: Overrides, store: str, work: Workspace) -> _Asked:
    """Fetch and convert the release; return the orders for its cells."""
    fetched = await _fetched(release, store, work)
    request = overrides.applied_to(fetched.request)
    chosen = await _targets(request, store, work)
    cells, skipped = cells_of(request, chosen.targets)
    for cell in skipped:
        get_run_logger().warning("skipped %s %s: %s", cell.device, cell.precision, cell.reason)
    tools = conversion_tools(fetched.release.format)
    job = ConversionJob(fetched=fetched, request=request, store=store, work=work, tools=tools)
    graphs = await convert_for(job, cells)
    _log_derived_shapes(graphs.values())
    orders = tuple(
        order_for(
            store=store,
            release=fetched.release,
            conversion=graph,
            request=request,
            target=target,
            precision=precision,
            build_tools=build_tools(),
            input_overrides=overrides.inputs,
        )
        for (target, precision), graph in graphs.items()
        if isinstance(graph, ConversionRecord)
    )
    lost = (*chosen.lost, *refused_cells(request, skipped), *_without_graph(graphs))
    for lost_cell in lost:
        get_run_logger().error("%s %s: %s", lost_cell.device, lost_cell.precision or "", lost_cell.error)
    return _Asked(orders=orders, lost=lost, skipped=skipped, priority=request.priority)


def _log_derived_shapes(graphs: Iterable[ConversionRecord | FarmError]) -> None:
    records = {graph.key: graph for graph in graphs if isinstance(graph, ConversionRecord)}
    for graph in records.values():
        for name in graph.derived_shapes:
            get_run_logger().info(
                "shapes of input %s, derived from its signature: %s", name, graph.shapes[name]
            )


def _without_graph(graphs: Mapping[Cell, ConversionRecord | FarmError]) -> tuple[LostCell, ...]:
    return tuple(
        LostCell(device=device_slug(target), precision=precision, error=graph, version=target.version)
        for (target, precision), graph in graphs.items()
        if isinstance(graph, FarmError)
    )


async def _targets(request: BuildRequest, store: str, work: Workspace) -> Chosen:
    """Return the requested targets, among those of the farm's agents, or of this host without a farm."""
    if runs_on_farm():
        return await targets_of_farm(store, request.targets)
    host = await probe_host(settings().interpreters, work=work)
    return host.choose(request.targets)


async def _build_here(orders: tuple[EngineOrder, ...]) -> tuple[CellAnswer, ...]:
    """Build what is missing, a few cells at a time. A cell that fails does not stop the others."""
    gate = asyncio.Semaphore(settings().parallel_builds)

    async def build_cell(order: EngineOrder) -> CellAnswer:
        try:
            outcome = await find_engine(order)
            if outcome is None:
                async with gate:
                    with tags(*cell_tags(order)):
                        outcome = await build_engine(order)
        except FarmError as error:
            return CellAnswer(order=order, outcome=error)
        log_step(f"{'built' if outcome.built else 'found'} {outcome.key}")
        return CellAnswer(order=order, outcome=outcome)

    return await answers_to(orders, build_cell)
