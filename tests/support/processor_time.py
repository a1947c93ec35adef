"""`--processor-time N`: the files and tests that cost most processor time, their child processes included."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

_TICKS = os.sysconf("SC_CLK_TCK")


def _descendants() -> Iterator[list[str]]:
    """The fields of `/proc/PID/stat` from the state on, of each living process that comes from this."""
    children = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text("utf-8", "replace").rpartition(") ")[2].split()
            except OSError:  # it has just ended
                continue
            children[int(fields[1])].append((int(folder.name), fields))
    pending = [os.getpid()]
    while pending:
        for pid, fields in children[pending.pop()]:
            pending.append(pid)
            yield fields


def processor_seconds() -> float:
    """What this process has used, its children that have ended, and all that live."""
    own = os.times()
    # Whole ticks: sums of fractions depend on their order.
    ended = sum(round(s * _TICKS) for s in (own.user, own.system, own.children_user, own.children_system))
    return (ended + sum(sum(map(int, fields[11:15])) for fields in _descendants())) / _TICKS


def add_processor_time(parser: pytest.Parser) -> None:
    parser.addoption("--processor-time", metavar="N", type=int, help="also print the N most expensive tests")


class ProcessorTime:
    """Measures each phase of each test where it runs, and prints the table where the run was started.

    A child whose parent died before it is counted nowhere.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._before = processor_seconds()
        self._files: defaultdict[str, float] = defaultdict(float)
        self._tests: defaultdict[str, float] = defaultdict(float)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        now = processor_seconds()
        # xdist carries it to the process that prints.
        report.__dict__["processor_seconds"] = now - self._before
        self._before = now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        seconds = getattr(report, "processor_seconds", 0.0)
        self._files[report.nodeid.partition("::")[0]] += seconds
        self._tests[f"{report.nodeid} ({report.when})"] += seconds

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        total = processor_seconds()
        tests = sum(self._files.values())
        terminalreporter.section("processor time")
        terminalreporter.write_line(
            f"{total:8.1f} s in all, of which {total - tests:.1f} s start pytest and collect"
        )
        for table in (self._files, self._tests):
            terminalreporter.write_line("")
            for name, seconds in sorted(table.items(), key=lambda row: -row[1])[: self._rows]:
                terminalreporter.write_line(f"{seconds:8.1f} s  {name}")
