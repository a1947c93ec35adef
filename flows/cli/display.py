"""What people see on a terminal: progress bars, tables and errors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tasks.children.progress import listening
from tasks.domain.errors import FarmError
from tasks.domain.gpu_table import device_slug
from tasks.domain.printable import printable
from tasks.domain.profile_text import case_rows, layer_rows, notes
from tasks.domain.record import EngineRecord
from tasks.domain.record_text import error_text
from tasks.store.records import Document, R, record_to_json

console = Console()
errors = Console(stderr=True)

_KIB = 1024


@contextmanager
def progress_bars() -> Iterator[None]:
    """Show one bar for each step that runs inside; nothing where there is no terminal."""
    columns = (
        SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description}"), BarColumn(),
        TimeElapsedColumn(), TextColumn("{task.fields[phase]}"),
    )  # fmt: skip
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as progress:
        bars = {}

        def show_step(step: str, phase: str, fraction: float) -> None:
            if step not in bars:
                bars[step] = progress.add_task(escape(printable(step)), total=1.0, phase="")
            progress.update(bars[step], completed=fraction, phase=escape(printable(phase)))

        with listening(show_step):
            yield


def engine_table(records: Iterable[EngineRecord], *, title: str) -> Table:
    """Return one row per engine."""
    table = Table(title=title, title_justify="left")
    for name in ("model", "version", "target", "TensorRT", "precision"):
        table.add_column(name, no_wrap=True)
    for name in ("size", "build", "error against TensorFlow"):
        table.add_column(name, justify="right")
    table.add_column("key", overflow="fold")
    for record in records:
        target = record.target
        row = (
            record.model,
            record.version,
            device_slug(target),
            str(target.version),
            record.options.precision,
        )
        figures = (_size(record.plan.size), f"{record.seconds['build']:.1f} s", error_text(record))
        table.add_row(*(escape(printable(text)) for text in (*row, *figures, record.key)))
    return table


def show_profile(record: EngineRecord) -> None:
    """Print what was measured on the engine's GPU, or why nothing was."""
    profile = record.profile
    name = f"{record.model} {record.version} {record.options.precision} on {device_slug(record.target)}"
    for rows, title in ((case_rows(profile), name), (layer_rows(profile), "")):
        if rows:
            console.print(_plain_table(rows, title=printable(title)))
    for line in notes(profile):
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def _plain_table(rows: list[dict[str, str]], *, title: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for place, column in enumerate(rows[0]):
        table.add_column(column, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(text)) for text in row.values()))
    return table


def _size(size: int) -> str:
    return f"{size / _KIB:.0f} KiB" if size < _KIB * _KIB else f"{size / _KIB / _KIB:.1f} MiB"


def records_json(records: Iterable[EngineRecord]) -> list[dict[str, Any]]:
    """Return records that this process wrote as JSON-ready documents."""
    return [json.loads(record_to_json(record)) for record in records]


def documents_json(documents: Iterable[Document[R]]) -> list[dict[str, Any]]:
    """Return the records as the store holds them, with what a newer version wrote into them."""
    return [json.loads(document.data) for document in documents]


def show_error(error: FarmError) -> None:
    """Print what was wanted, what was found and what to do."""
    errors.print(f"[bold red]{error.class_name}[/] (exit code {error.exit_code})", highlight=False)
    for name, text in (("wanted", error.wanted), ("found", error.found), ("to fix", error.fix)):
        errors.print(f"  [bold]{name:7}[/] {escape(text)}", highlight=False)
    if error.retryable:
        errors.print("  The same command may work later.", highlight=False)
