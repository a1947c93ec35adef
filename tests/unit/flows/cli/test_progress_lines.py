"""Without a terminal, commands say on standard error what they do, and fail with a document for programs."""

from __future__ import annotations

import io
import json
import sys

import pytest

from flows.cli import display, main, output
from flows.cli.display import progress_bars
from flows.cli.output import Output, print_json
from flows.server.step_log import log_step
from tasks.children.progress import report_progress
from tasks.domain.errors import BuildRefused


def test_steps_are_lines_if_standard_error_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(display, "errors", Output(file=file))
    monkeypatch.setattr(display, "_LINE_SECONDS", 0.0)
    with progress_bars():
        report_progress("build l4 fp16", "parse", 0.0)
        report_progress("build l4 fp16", "optimise", 0.5)
        report_progress("build l4 fp16", "optimise", 1.0)
        report_progress("build l4 fp16", "optimise", 1.0)
    started, working, done = file.getvalue().splitlines()
    assert (started, working) == ("build l4 fp16: started", "build l4 fp16: optimise, 50%")
    assert done.startswith("build l4 fp16: done after ")


def test_what_came_of_a_step_is_a_line_as_in_the_log_of_a_farm(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(display, "errors", Output(file=file))
    log_step("before")
    with progress_bars():
        log_step("graph in fp32: opset 17, 14 nodes\x1b[2J")
    log_step("after")
    assert file.getvalue().splitlines() == ["graph in fp32: opset 17, 14 nodes\\x1b[2J"]


@pytest.mark.parametrize("printed", [False, True])
def test_a_json_command_that_fails_prints_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, printed: bool
) -> None:
    error = BuildRefused(wanted="an engine", found="none", fix="ask for FP32")

    def fail() -> None:
        if printed:
            print_json({"graphs": []})
        raise error

    monkeypatch.setattr(output, "_printed", [])
    monkeypatch.setattr(main, "app", fail)
    monkeypatch.setattr(sys, "argv", ["enginefarm", "build", "--json", "s3://b/m/1"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == error.exit_code
    wanted: dict[str, object] = {"graphs": []} if printed else {"error": error.to_document()}
    assert json.loads(capsys.readouterr().out) == wanted
