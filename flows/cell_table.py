"""What came of a release's cells, as the run's page in Prefect shows it."""

from __future__ import annotations

import asyncio

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from flows.display import error_text
from tasks.domain.errors import FarmError
from tasks.domain.gpu_table import device_slug
from tasks.domain.order import CellOutcome, EngineOrder
from tasks.domain.printable import printable
from tasks.domain.release import ReleaseRef
from tasks.store.store import Store

Answers = list[CellOutcome | BaseException]


async def show_cells(release: ReleaseRef, orders: tuple[EngineOrder, ...], answers: Answers) -> None:
    """Leave a table of all cells on this run's page, and each failure with its fix.

    Raises:
        FarmError: a record cannot be read.
    """
    rows = await asyncio.to_thread(_rows, orders, answers)
    await acreate_table_artifact(key="engines", table=rows, description=f"Engines of {release.url}")
    failures = [
        f"## {device_slug(order.target)} {order.options.precision}\n\n{_text(answer)}"
        for order, answer in zip(orders, answers, strict=True)
        if isinstance(answer, FarmError)
    ]
    if failures:
        await acreate_markdown_artifact(key="failures", markdown="\n\n".join(failures))


def _rows(orders: tuple[EngineOrder, ...], answers: Answers) -> list[dict[str, str]]:
    """Return a row for each cell; reads every record that there is."""
    return [_row(order, answer) for order, answer in zip(orders, answers, strict=True)]


def _row(order: EngineOrder, answer: CellOutcome | BaseException) -> dict[str, str]:
    row = {
        "target": device_slug(order.target),
        "TensorRT": str(order.target.version),
        "precision": str(order.options.precision),
    }
    if not isinstance(answer, CellOutcome):
        return row | {"state": type(answer).__name__}
    record = Store.connect(order.store).find_engine(order.key)
    if record is None:
        return row | {"state": "gone"}
    cases = record.profile.cases
    return row | {
        "state": "built" if answer.built else "found",
        "error against TensorFlow": error_text(record),
        "p50 ms": f"{cases[0].gpu_ms.p50:.3f} ({cases[0].name})" if cases else "not measured",
        "record": f"{order.store}/{answer.key}",
        "plan": answer.plan.sha256,
    }


def _text(error: FarmError) -> str:
    """Return wanted, found and fix as Markdown in which nothing of a model's own names is markup."""
    lines = (
        ("error", type(error).__name__),
        ("wanted", error.wanted),
        ("found", error.found),
        ("to fix", error.fix),
    )
    return "\n\n".join(f"**{name}**:\n\n```\n{printable(text)}\n```" for name, text in lines)
