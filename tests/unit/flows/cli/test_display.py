"""What people see."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from flows.cli import display
from tasks.children.progress import labelled, report_progress
from tasks.domain.errors import ModelRefused, StoreUnreachable
from tasks.domain.gate import not_measured
from tasks.domain.quantisation import Quantisation, warning_of
from tasks.domain.record import EngineRecord
from tasks.domain.record_text import error_text
from tasks.domain.request import Calibration


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written to a terminal of 200 columns."""
    text = io.StringIO()
    monkeypatch.setattr(display, "errors", Console(file=text, force_terminal=True, width=200))
    return text


def test_each_step_has_its_bar_with_its_phase(terminal: io.StringIO) -> None:
    with display.progress_bars():
        report_progress("convert", "freeze", 0.5)
        with labelled("rtx-sm89 fp16"):
            report_progress("build", "[bold]tactics\x1b[2J", 0.25)
    shown = terminal.getvalue()
    assert "convert" in shown
    assert "freeze" in shown
    assert "build rtx-sm89 fp16" in shown
    assert "[bold]tactics\\x1b[2J" in shown


def test_without_a_terminal_there_are_lines_and_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(display, "errors", Console(file=text, force_terminal=False))
    with display.progress_bars():
        report_progress("convert", "freeze", 0.5)
    assert text.getvalue().strip() == "convert: started"


def test_an_error_shows_all_of_its_parts(terminal: io.StringIO) -> None:
    display.show_error(ModelRefused(wanted="a [red]model[/]", found="PyFunc", fix="take it out"))
    shown = terminal.getvalue()
    for part in ("ModelRefused", "13", "a [red]model[/]", "PyFunc", "take it out"):
        assert part in shown
    assert "may succeed" not in shown
    display.show_error(StoreUnreachable(wanted="w", found="f", fix="x"))
    assert "may succeed" in terminal.getvalue()


def test_the_error_column_says_what_was_measured(engine_record: EngineRecord) -> None:
    assert error_text(engine_record) == "3.0e-07 (engine)"
    without_gpu = replace(engine_record, engine_verification=not_measured(tolerance=1e-4, reason="no GPU"))
    assert error_text(without_gpu) == "3.0e-07 (graph)"


def test_the_error_of_a_quantised_engine_stands_beside_its_coverage(engine_record: EngineRecord) -> None:
    quantisation = Quantisation(
        calibration=Calibration.ENTROPY,
        rows=32,
        quantised=2,
        quantisable=32,
        work=0.9,
        errors={Calibration.ENTROPY: 1e-4},
        tool="a library",
    )
    record = replace(engine_record, quantisation=quantisation)
    assert error_text(record) == "3.0e-07 (engine, quantised: 2 of 32)"
    few = replace(record, quantisation=replace(quantisation, warning=warning_of(32)))
    assert error_text(few) == "3.0e-07 (engine, quantised: 2 of 32, few samples)"


def test_the_error_of_an_output_that_hardly_varies_says_so(engine_record: EngineRecord) -> None:
    verification = engine_record.engine_verification
    rows = tuple(replace(row, spread=1e-6) for row in verification.comparisons)
    record = replace(engine_record, engine_verification=replace(verification, comparisons=rows))
    assert error_text(record) == "3.0e-07 (engine, hardly varies)"
