"""What a terminal shows and what a pipe gets: the real command, at several widths."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.domain.errors import NameAmbiguous, NotStored
from tasks.domain.keys import engine_key
from tasks.domain.record import EngineRecord
from tasks.store.store import Store

Command = Callable[..., tuple[int, str, str]]
PROGRAM = str(Path(sys.executable).with_name("enginefarm"))
DIGITS = ("0123456789ab", "0123456ffff0", "fedcba987654")


@pytest.fixture
def keys(s3_env: str, engine_record: EngineRecord, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of three stored engines with long names; the settings name their store."""
    url = f"s3://{s3_env}"
    monkeypatch.setenv("ENGINEFARM_STORE", url)
    store, made = Store.connect(url), []
    model, version = "mobilenet-v3-small-quantised-aware", "2026-11-30"
    release = replace(
        engine_record.release, ref=replace(engine_record.release.ref, model=model, version=version)
    )
    target = replace(engine_record.target, gpu="NVIDIA RTX PRO 6000 Blackwell Server Edition")
    for digits in DIGITS:
        digest = digits.ljust(64, "0")
        precision = engine_record.options.precision
        key = engine_key(release=release, target=target, precision=precision, build_digest=digest)
        record = replace(
            engine_record,
            key=key,
            build_key=digest,
            release=release,
            model=model,
            version=version,
            target=target,
        )
        store.commit(record, key)
        made.append(key)
    return made


def on_terminal(columns: int, *words: str) -> list[str]:
    """Return the lines that a command shows on a terminal of `columns` columns, without colours."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [PROGRAM, *words], stdin=follower, stdout=follower, stderr=follower,
        env=environment | {"TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(follower)
    output = b""
    while data := _read(leader):
        output += data
    os.close(leader)
    assert process.wait() == 0, output.decode()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.decode()).splitlines()


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # the command has ended
        return b""


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_each_engine_takes_one_line_of_a_terminal(keys: list[str], columns: int) -> None:
    lines = on_terminal(columns, "engines", "list")
    assert all(len(line) <= columns for line in lines)
    rows = [line for line in lines if re.match("[0-9a-f]{8}", line)]
    assert [row.split()[0] for row in rows] == ["01234567", "0123456f", "fedcba98"]
    assert len(lines) == len(keys) + 3  # title, headings, what is not shown
    for name in ("rtx-pro-6000", "fp16", "3.0e-07 (engine)"):
        assert all(name in row for row in rows)


def test_wide_shows_whole_keys_on_a_narrow_terminal(keys: list[str]) -> None:
    lines = on_terminal(80, "engines", "list", "--wide")
    assert [line.split()[-1] for line in lines[2:]] == keys


def test_a_pipe_gets_one_line_per_engine_with_its_whole_key(enginefarm: Command, keys: list[str]) -> None:
    code, output, problems = enginefarm("engines", "list", COLUMNS="40", FORCE_COLOR="")
    assert code == 0, problems
    assert [line.split()[-1] for line in output.splitlines()[2:]] == keys


def test_an_error_in_a_pipe_has_one_line_for_each_part(enginefarm: Command, keys: list[str]) -> None:
    code, _, problems = enginefarm("engines", "show", "0123456", COLUMNS="40")
    assert code == NameAmbiguous.exit_code
    lines = problems.splitlines()
    assert [line.split()[0] for line in lines] == ["NameAmbiguous", "wanted", "found", *keys[:2], "to"]
    code, _, problems = enginefarm("engines", "show", "7777777", COLUMNS="40")
    assert code == NotStored.exit_code
    assert len(problems.splitlines()) == 4


def test_a_short_name_shows_its_record(enginefarm: Command, keys: list[str]) -> None:
    for name in (
        "fedcba9",
        "fedcba98",
        DIGITS[2],
        DIGITS[2].ljust(64, "0"),
        f"2026-11-30/{DIGITS[2]}",
        keys[2],
    ):
        code, output, problems = enginefarm("engines", "show", name)
        assert code == 0, problems
        assert f'"key": "{keys[2]}"' in output
