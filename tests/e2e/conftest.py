"""Commands as users run them: in processes of their own, with folders that must be empty afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.prefect_home import migrated_home
from tests.support.waiting import wait_until

Start = Callable[..., subprocess.Popen[str]]
_ROOT = Path(__file__).parents[2]


def _processes_below(folder: Path) -> list[str]:
    """Return the command lines of living processes that name `folder` in them or in their environment."""
    commands = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            texts = command + (process / "environ").read_bytes()
        except OSError:  # it has ended, or is not ours
            continue
        if str(folder).encode() in texts:
            commands.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return commands


@pytest.fixture
def processes_below() -> Callable[[Path], list[str]]:
    """A function that lists the living processes that work below a folder."""
    return _processes_below


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """The temporary folder of commands: at the end nothing is in it, and no process works below it."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    yield folder
    wait_until(lambda: not _processes_below(folder), lambda: _processes_below(folder), every=0.2)
    # uv keeps its own locks there.
    assert [path.name for path in folder.iterdir() if not path.match("uv-*.lock")] == []


@pytest.fixture
def start(scratch: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """A function that starts a command with `scratch` as its temporary folder and a home of its own."""
    migrated_home(tmp_path_factory, tmp_path / "home/.prefect")
    started: list[subprocess.Popen[str]] = []

    def run(command: Sequence[str] | str, **environment: str) -> subprocess.Popen[str]:
        own = {"HOME": str(tmp_path / "home"), "TMPDIR": str(scratch), "COLUMNS": "200"}
        passed = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        process = subprocess.Popen(
            command, shell=isinstance(command, str), text=True, cwd=_ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env=passed | own | environment,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def enginefarm(start: Start) -> Callable[..., tuple[int, str, str]]:
    """A function that runs one command to its end; returns exit code, output and errors."""

    def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
        process = start([str(Path(sys.executable).with_name("enginefarm")), *arguments], **environment)
        output, errors = process.communicate(timeout=500)
        return process.returncode, output, errors

    return run
