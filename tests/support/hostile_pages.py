"""A run with each page that the farm makes, with a stranger's markup in every text."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

from prefect import flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State

from flows.pages.cells import show_cells
from flows.pages.failure import failure_on_run_page
from flows.pages.verification import show_verifications
from flows.reconcile import Reconciled, _show_reconciled
from flows.release.pool_watch import PoolWatch
from flows.server.flow_errors import fails_with_its_error
from tasks.domain.cells import CellAnswer, LostCell
from tasks.domain.errors import RequestInvalid
from tasks.domain.order import EngineOrder
from tasks.domain.record import EngineRecord
from tasks.profile import _show_profile
from tests.stand_in.toolchain import StandIn
from tests.support.small_cells import make_cell

_PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

MARKUP = (
    "![p](http://evil.example/p.png) [q](http://evil.example/q) <http://evil.example/r> "
    '<img src="http://evil.example/s.png"> <a href="http://evil.example/t">t</a> http://evil.example/u '
    "www.evil.example me@evil.example **bold** `code` ``` | ~~~ ]( javascript:alert(1) "
    "<script>alert(2)</script>"
)
"""Each way in which text becomes a link, an image or a script."""

PAGES = ("charts", "engines", "failure", "failures", "latency", "reconciled", "verification", "waiting")
"""Beginnings of the artifacts' keys."""


@flow(name="hostile-pages", log_prints=False)
@fails_with_its_error
async def hostile_pages(record: EngineRecord, order: EngineOrder, picture: Path) -> None:
    """Make every page, and fail."""
    get_run_logger().warning("%s", MARKUP)
    verification = record.graph_verification
    comparison = replace(verification.comparisons[0], corner=MARKUP, output=MARKUP)
    await show_verifications(
        graph=replace(verification, comparisons=(comparison,), reason=MARKUP, compared=MARKUP, inputs=MARKUP)
    )
    error = RequestInvalid(wanted=MARKUP, found=f"{MARKUP}\n# {MARKUP}\n- {MARKUP}", fix=MARKUP)
    await show_cells(
        record.release.ref,
        (CellAnswer(order=order, outcome=error, run=uuid4()),),
        (LostCell(device=MARKUP, precision=None, error=error),),
    )
    await _show_reconciled(
        [
            Reconciled(url=MARKUP, lacks=(MARKUP, MARKUP), done=MARKUP),
            Reconciled(url=MARKUP, done="", run=uuid4()),
        ]
    )
    profile = record.profile
    cases = tuple(replace(case, name=MARKUP, batch=None, steady=False) for case in profile.cases)
    await _show_profile(order, replace(profile, cases=cases, gpu=MARKUP, reason=MARKUP), [picture])
    async with get_client() as client:
        watch = PoolWatch(client=client, store=order.store, patience=60)
        watch._unserved[MARKUP] = 0.0
        await watch._show_unserved()
    async with failure_on_run_page():
        raise error


def run_with_every_page(toolchain: StandIn, record: EngineRecord, folder: Path) -> UUID:
    """Run the flow on the current server and return its run, which failed."""
    cell = make_cell(toolchain, record, "s3://bucket", folder)
    picture = folder / "latency.png"
    picture.write_bytes(_PICTURE)

    async def run() -> State[None]:
        return await hostile_pages(record, cell.order, picture, return_state=True)

    state = asyncio.run(run())
    assert state.is_failed()
    assert MARKUP in str(state.message)
    return UUID(str(state.state_details.flow_run_id))
