"""Processes that end with their parent, also if the parent dies first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.children.parent import dying_with_us
from tests.support.waiting import wait_until

_ROOT = Path(__file__).parents[4]
_SLEEP = ("sleep", "600")
# Starts a program, which gets the named signal, says its process id, and waits to be killed.
_PARENT = """
import signal, subprocess, sys, time
from tasks.children.parent import dying_with_us

_, name, *program = sys.argv
child = subprocess.Popen(dying_with_us(tuple(program), signal.Signals[f"SIG{name}"]), start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""
# Starts a process that asks for its end with this one only once the file of the argument is there.
_PARENT_OF_LATE = """
import os, subprocess, sys, time

child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2], str(os.getpid())])
print(child.pid, flush=True)
time.sleep(600)
"""
_LATE = """
import sys, time
from pathlib import Path
from tasks.children.parent import die_with

while not Path(sys.argv[1]).exists():
    time.sleep(0.01)
die_with(int(sys.argv[2]))
time.sleep(600)
"""


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _is_running(pid: int, program: str) -> bool:
    """Whether the process has become `program`."""
    return Path(f"/proc/{pid}/comm").read_text("utf-8").strip() == program


def test_a_program_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, "TERM", *_SLEEP], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_until(lambda: _is_running(child, "sleep"))
        assert _lives(child)
        parent.kill()
    wait_until(lambda: not _lives(child))


def test_a_program_whose_parent_died_first_does_not_start(tmp_path: Path) -> None:
    command = list(dying_with_us(("touch", str(tmp_path / "started"))))
    command[command.index(str(os.getpid()))] = "1"  # whose child it is not, as after a death
    done = subprocess.run(command, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "started").exists()


def test_a_process_that_asks_after_its_parent_died_ends(tmp_path: Path) -> None:
    """The race: the parent is killed while the child still imports."""
    late = tmp_path / "late"
    command = [sys.executable, "-c", _PARENT_OF_LATE, _LATE, str(late)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert _lives(child)
    late.touch()
    wait_until(lambda: not _lives(child))


def test_the_signal_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    script = f"trap 'touch {tmp_path}/told; exit' INT; touch {tmp_path}/up; while :; do sleep 0.05; done"
    command = [sys.executable, "-c", _PARENT, "INT", "sh", "-c", script]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE) as parent:
        wait_until((tmp_path / "up").exists)
        parent.kill()
    wait_until((tmp_path / "told").exists)


def test_a_program_that_is_not_there_is_named() -> None:
    done = subprocess.run(dying_with_us(("no-such-program",)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "no-such-program: No such file or directory\n")


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_root_can_start_a_program_as_another_user() -> None:
    done = subprocess.run(
        dying_with_us(("sh", "-c", "id -un; pwd"), user="nobody"), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["nobody", "/"]
