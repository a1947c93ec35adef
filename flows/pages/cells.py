"""The results of a release's cells, on the run's page in Prefect."""

from __future__ import annotations

from agents.server.flow_runs import cell_run_name
from flows.pages.failure import failure_text
from flows.pages.run import link_to
from tasks.domain.cells import CellAnswer, LostCell
from tasks.domain.errors import FarmError
from tasks.domain.gpu_table import device_slug
from tasks.domain.markdown import Markdown, markdown
from tasks.domain.record import EngineRecord
from tasks.domain.record_text import error_text
from tasks.domain.release import ReleaseRef
from tasks.page import add_table, add_text
from tasks.store.patience import retry_while_s3_is_down
from tasks.store.store import Store

_COLUMNS = (
    "target", "TensorRT", "precision", "state", "error against TensorFlow", "p50 ms", "key", "plan", "run",
)  # fmt: skip
"""Each row has all of them: Prefect's page shows the columns of the first row only."""


async def show_cells(
    release: ReleaseRef, answers: tuple[CellAnswer, ...], lost: tuple[LostCell, ...]
) -> None:
    """Add a table of all cells to this run's page, and each failure with its fix.

    Raises:
        FarmError: a record cannot be read.
    """
    rows = await retry_while_s3_is_down(lambda: [_cell_row(answer) for answer in answers])
    rows += [_lost_row(cell) for cell in lost]
    await add_table("engines", rows, markdown("Engines of {release}", release=release.url))
    failures = [
        _failure(answer, answer.outcome) for answer in answers if isinstance(answer.outcome, FarmError)
    ]
    failures += [_failure_of_lost(cell) for cell in lost]
    if failures:
        why = markdown("Why cells of {release} failed, and what to do", release=release.url)
        await add_text("failures", Markdown("\n\n".join(failures)), why)


def _cell_row(answer: CellAnswer) -> dict[str, str]:
    order, outcome = answer.order, answer.outcome
    row = dict.fromkeys(_COLUMNS, "") | {
        "target": device_slug(order.target),
        "TensorRT": str(order.target.version),
        "precision": str(order.options.precision),
        "run": _link(answer),
    }
    if isinstance(outcome, FarmError):
        return row | {"state": outcome.class_name}
    record = Store.connect(order.store).find(order.key, EngineRecord)
    if record is None:
        return row | {"state": "gone"}
    cases = record.profile.cases
    return row | {
        "state": "built" if outcome.built else "found",
        "error against TensorFlow": error_text(record),
        "p50 ms": f"{cases[0].gpu_ms.p50:.3f} ({cases[0].name})" if cases else "not measured",
        "key": f"{order.store}/{outcome.key}",
        "plan": outcome.plan.sha256,
    }


def _lost_row(cell: LostCell) -> dict[str, str]:
    return dict.fromkeys(_COLUMNS, "") | {
        "target": cell.device,
        "TensorRT": str(cell.version or ""),
        "precision": str(cell.precision or "all"),
        "state": cell.error.class_name,
    }


def _link(answer: CellAnswer) -> str:
    return "" if answer.run is None else link_to(answer.run, cell_run_name(answer.order))


def _failure(answer: CellAnswer, error: FarmError) -> Markdown:
    order = answer.order
    run = "" if answer.run is None else markdown("**run**: {run}\n\n", run=_link(answer))
    title = f"{device_slug(order.target)} {order.options.precision}"
    return markdown("## {title}\n\n{run}{text}", title=title, run=run, text=failure_text(error))


def _failure_of_lost(cell: LostCell) -> Markdown:
    title = f"{cell.device} {cell.precision or ''}"
    return markdown("## {title}\n\n{text}", title=title, text=failure_text(cell.error))
