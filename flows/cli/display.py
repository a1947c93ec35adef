"""What people see on a terminal: progress bars, tables and errors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from flows.cli.output import describe, errors, say, show
from flows.cli.tables import Column, FittedTable
from flows.server.step_lines import step_lines
from tasks.children.progress import listening
from tasks.domain.errors import FarmError
from tasks.domain.gpu_table import device_slug
from tasks.domain.printable import printable
from tasks.domain.profile_text import case_rows, layer_rows, notes
from tasks.domain.record import EngineRecord
from tasks.domain.record_text import error_figure, quantised_text
from tasks.domain.step_text import size_text
from tasks.store.records import Document, R, record_to_json

_LINE_SECONDS = 10.0


@contextmanager
def progress_bars() -> Iterator[None]:
    """Show a progress bar for each step that runs inside, or lines if standard error is no terminal.

    What came of a step is a line of its own, as in the log of a run on a farm.
    """
    with step_lines(_write_line):
        if errors.is_terminal:
            with _bars():
                yield
        else:
            with listening(_Lines().take):
                yield


@contextmanager
def _bars() -> Iterator[None]:
    columns = (
        SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description}"), BarColumn(),
        TimeElapsedColumn(), TextColumn("{task.fields[phase]}"),
    )  # fmt: skip
    with Progress(*columns, console=errors) as progress:
        bars = {}

        def show_step(step: str, phase: str, fraction: float) -> None:
            if step not in bars:
                bars[step] = progress.add_task(escape(printable(step)), total=1.0, phase="")
            progress.update(bars[step], completed=fraction, phase=escape(printable(phase)))

        with listening(show_step):
            yield


class _Lines:
    """Writes to standard error when a step starts, every few seconds while it works, and when it is done."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._written: dict[str, float] = {}

    def take(self, step: str, phase: str, fraction: float) -> None:
        now = time.monotonic()
        if step not in self._started:
            self._started[step] = self._written[step] = now
            _write_line(f"{step}: started")
        if step not in self._written:
            return  # done
        if fraction >= 1.0:
            del self._written[step]
            _write_line(f"{step}: done after {now - self._started[step]:.1f} s")
        elif now > self._started[step] and now - self._written[step] >= _LINE_SECONDS:
            self._written[step] = now
            _write_line(f"{step}: {phase}, {fraction:.0%}")


def _write_line(line: str) -> None:
    errors.print(Text(printable(line)), soft_wrap=True)


_ENGINE_COLUMNS = (
    Column(name="name"),
    Column(name="release", shrinks=True),
    Column(name="target", shrinks=True),
    Column(name="TensorRT", rank=1),
    Column(name="precision"),
    Column(name="error", right=True),
    Column(name="quantised", rank=2, right=True),
    Column(name="size", rank=3, right=True),
    Column(name="build", rank=4, right=True),
    Column(name="created", rank=5),
    Column(name="key", rank=6),
)


ERROR_LEGEND = (
    "Error: the largest difference from TensorFlow; of the graph, if the engine was not run on a GPU."
)


def engine_table(
    records: Iterable[EngineRecord],
    *,
    title: str,
    names: Mapping[str, str],
    wide: bool = False,
    hint: str = "",
) -> FittedTable:
    """Return one row per engine; `names` has the short name of each key."""
    return FittedTable(
        title=title,
        columns=_ENGINE_COLUMNS,
        rows=[_engine_row(record, names.get(record.key, "")) for record in records],
        wide=wide,
        hint=hint,
    )


def _engine_row(record: EngineRecord, name: str) -> tuple[str, ...]:
    target = record.target
    return (
        name,
        record.release.ref.key.rstrip("/"),
        device_slug(target),
        str(target.version),
        record.options.precision,
        error_figure(record),
        quantised_text(record),
        size_text(record.plan.size),
        f"{record.seconds['build']:.1f} s",
        record.created,
        record.key,
    )


_DROPPED_FIRST = {"min": 1, "mean": 2, "p90": 3, "layers": 4, "host p50": 5}
"""Columns of a profile that a narrow terminal leaves out; those with the highest rank first."""


def show_profile(record: EngineRecord) -> None:
    """Print what was measured on the engine's GPU, or why nothing was measured."""
    profile = record.profile
    release = record.release.ref.key.rstrip("/")
    title = f"{release} {record.options.precision} on {device_slug(record.target)}"
    if rows := case_rows(profile):
        show(_profile_table(rows, title=title))
    if rows := layer_rows(profile):
        say("")
        show(_profile_table(rows, title="Slowest layers"))
    for line in notes(profile):
        say(line)


def _profile_table(rows: list[dict[str, str]], *, title: str) -> FittedTable:
    columns = [
        Column(name=name, rank=_DROPPED_FIRST.get(name, 0), right=place > 0, shrinks=place == 0)
        for place, name in enumerate(rows[0])
    ]
    return FittedTable(title=title, columns=columns, rows=[tuple(row.values()) for row in rows])


def records_json(records: Iterable[EngineRecord]) -> list[dict[str, Any]]:
    """Return records that this process wrote, ready for JSON."""
    return [json.loads(record_to_json(record)) for record in records]


def documents_json(documents: Iterable[Document[R]]) -> Iterator[dict[str, Any]]:
    """Yield the records as stored, including fields that a newer version wrote."""
    return (json.loads(document.data) for document in documents)


def show_error(error: FarmError) -> None:
    """Print what was wanted, what was found and how to fix it."""
    describe(error.class_name, f" (exit code {error.exit_code})", style="bold red", to=errors)
    for name, text in (("wanted", error.wanted), ("found", error.found), ("to fix", error.fix)):
        describe(f"  {name:7} ", text, to=errors)
    if error.retryable:
        describe("  ", "A retry of the same command may succeed.", to=errors)
