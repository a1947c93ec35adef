"""Tables fit the terminal that they are printed on, and files get all of them."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len

from flows.cli.display import engine_table
from flows.cli.output import Output
from flows.cli.status import page
from flows.cli.tables import Column, FittedTable
from flows.server.view import AgentView, FarmView, PoolView, RunView, WaitingView
from tasks.domain.quantisation import Quantisation
from tasks.domain.record import EngineRecord
from tasks.domain.record_names import short_names
from tasks.domain.request import Calibration

WIDTHS = (80, 100, 160)
COLUMNS = (
    Column(name="name"),
    Column(name="model", shrinks=True),
    Column(name="version", rank=1),
    Column(name="size", rank=2, right=True),
    Column(name="key", rank=3),
)
ROW = ("0123abcd", "a-model-with-a-name-of-some-length", "10.13.3.9", "7 MiB", "engines/" + 60 * "k")
WHOLE = FittedTable(title="Engines", columns=COLUMNS, rows=[ROW], hint="--wide shows everything")


class Terminal(io.StringIO):
    """A file that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(table: object, width: int) -> list[str]:
    """Return the lines of `table` on a terminal of `width` columns."""
    console = Output(file=Terminal(), width=width, height=50, color_system=None)
    console.print(table)
    assert isinstance(console.file, Terminal)
    return console.file.getvalue().splitlines()


def written(table: object) -> list[str]:
    """Return the lines of `table` in a file."""
    file = io.StringIO()
    Output(file=file).print(table)
    return file.getvalue().splitlines()


def engines(record: EngineRecord) -> FittedTable:
    """Return a table of two engines, one of them with long names and quantised."""
    quantisation = Quantisation(
        calibration=Calibration.ENTROPY,
        rows=32,
        quantised=11,
        quantisable=32,
        work=0.9,
        errors={Calibration.ENTROPY: 1e-4},
        tool="a library",
    )
    target = replace(record.target, gpu="NVIDIA RTX PRO 6000 Blackwell Server Edition")
    long = replace(
        record, model="mobilenet-v3-small-quantised-aware", version="2026-11-30", target=target,
        quantisation=quantisation, key=record.key.replace("fp16-0", "fp16-f"),
    )  # fmt: skip
    records = [record, long]
    names = short_names(record.key for record in records)
    return engine_table(records, title="Engines", names=names, hint="--wide shows everything")


def farm() -> FarmView:
    """Return a farm whose pool, agents and runs have names as long as real ones."""
    pool = "gpu-h100-sxm-80gb-trt10.13.3.9"
    run = RunView(
        id="0123abcd-0000",
        name="resnet50-v7 h100-sxm-80gb fp16",
        state="Running",
        since="2026-11-30T00:00:00+00:00",
    )
    agents = (
        AgentView(name=f"build-host-17-gpu0-{pool}", online=True, seen=None, runs=(run,)),
        AgentView(name=f"build-host-17-gpu1-{pool}", online=False, seen="2026-11-30T00:00:00+00:00"),
        AgentView(name=f"build-host-17-gpu2-{pool}", online=True, seen=None),
    )
    waiting = WaitingView(
        id="89abcdef-0000", name="mobilenet-v3 h100-sxm-80gb fp32", queue="production", state="Scheduled",
        age_seconds=4000, done_in_seconds=None,
    )  # fmt: skip
    return FarmView(pools=(PoolView(name=pool, paused=True, agents=agents, waiting=(waiting,)),), failures=())


def test_columns_go_by_rank_until_a_row_fits() -> None:
    wide = printed(WHOLE, 160)
    assert wide[1].split() == ["name", "model", "version", "size", "key"]
    assert len(wide) == 3
    medium = printed(WHOLE, 80)
    assert medium[1].split() == ["name", "model", "version", "size"]
    assert medium[2].split() == [*ROW[:3], "7", "MiB"]
    assert medium[3] == "Not shown: key (--wide shows everything)."


def test_a_name_is_cut_before_the_last_columns_go() -> None:
    lines = printed(WHOLE, 50)
    assert lines[1].split() == ["name", "model", "version"]
    assert lines[2] == "0123abcd  a-model-with-a-name-of-some-…  10.13.3.9"[:50]
    narrow = printed(WHOLE, 30)
    assert narrow[1].split() == ["name", "model"]
    assert narrow[2] == "0123abcd  a-model-with-a-name…"


def test_wide_prints_everything_on_any_terminal() -> None:
    lines = printed(replace(WHOLE, wide=True), 30)
    assert len(lines) == 3
    assert lines[2].split("  ")[-1] == ROW[-1]


@pytest.mark.parametrize("columns", ["20", "80"])
def test_a_file_gets_whole_rows_whatever_columns_says(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = written(WHOLE)
    assert len(lines) == 3
    assert all(cell in lines[2] for cell in ROW)


def test_a_cell_is_one_line_and_writes_no_control_characters() -> None:
    lines = written(replace(WHOLE, rows=[("0123abcd", "a\nfake\x1b[2Jrow", "[red]", ":smile:", "key")]))
    assert len(lines) == 3
    assert lines[2].split() == ["0123abcd", r"a\nfake\x1b[2Jrow", "[red]", ":smile:", "key"]


def test_columns_without_a_value_are_left_out_without_a_hint() -> None:
    lines = printed(replace(WHOLE, rows=[(*ROW[:2], "", "", "")]), 160)
    assert lines[1].split() == ["name", "model"]
    assert len(lines) == 3


def test_characters_that_take_two_columns_count_twice() -> None:
    (row,) = printed(replace(WHOLE, rows=[("0123abcd", "模型" * 20, "", "", "")]), 40)[2:3]
    assert cell_len(row) <= 40
    assert row.endswith("…")


@pytest.mark.parametrize("width", WIDTHS)
def test_engines_take_one_line_each_with_name_target_and_precision(
    engine_record: EngineRecord, width: int
) -> None:
    lines = printed(engines(engine_record), width)
    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) <= 5  # title, headings, two engines, what is not shown
    assert lines[1].split()[:3] == ["name", "release", "target"]
    for line in lines[2:4]:
        assert line.split()[0] in {"01234567", "f1234567"}
        assert "fp16" in line
        assert "3.0e-07 (engine)" in line


@pytest.mark.parametrize("width", WIDTHS)
def test_the_status_of_a_farm_fits(width: int) -> None:
    lines = printed(page(farm(), wide=False), width)
    table = lines[: lines.index("")]
    assert all(cell_len(line) <= width for line in table)
    assert len(table) <= 6  # title, headings, three agents, what is not shown
    assert "Running" in table[2]
    assert "offline" in table[3]
    assert "idle" in table[4]


def test_the_status_in_a_file_has_whole_names() -> None:
    lines = written(page(farm(), wide=False))
    (running,) = [line for line in lines if "Running" in line]
    assert "gpu-h100-sxm-80gb-trt10.13.3.9 (paused)  build-host-17-gpu0  Running" in running
    (waiting,) = [line for line in lines if "Scheduled" in line]
    for text in ("mobilenet-v3 h100-sxm-80gb fp32", "89abcdef", "1 h 6 min", "unknown"):
        assert text in waiting
