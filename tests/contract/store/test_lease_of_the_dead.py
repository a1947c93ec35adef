"""A process that is killed while it holds a lease is followed at once by those on its host."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.store.holder import this_process
from tasks.store.store import Store
from tests.support.waiting import PATIENCE, wait_until

KEY = "conversions/ab/abcd.json"
_HOLDER = Path(__file__).parents[2] / "support/store/lease_holder.py"
_ROOT = Path(__file__).parents[3]


@pytest.fixture
def start(store: Store, tmp_path: Path) -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    """A function that starts `lease_holder.py` on `tmp_path`, with a lease of so many seconds."""
    with ExitStack() as processes:

        def run(seconds: float) -> subprocess.Popen[str]:
            command = [sys.executable, str(_HOLDER), store.url, KEY, str(seconds), str(tmp_path)]
            process = processes.enter_context(
                subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
            )
            processes.callback(process.kill)
            return process

        yield run


def makers(folder: Path, *, wanted: int) -> list[str]:
    """Return the processes that started to make the result as soon as there are `wanted`."""
    made = folder / "made"
    wait_until(lambda: made.exists() and len(made.read_text("utf-8").split()) >= wanted)
    return made.read_text("utf-8").split()


def test_another_process_goes_on_where_one_is_killed(
    start: Callable[[float], subprocess.Popen[str]], tmp_path: Path
) -> None:
    first = start(300.0)  # nobody on its host waits so long for a process that is gone
    assert makers(tmp_path, wanted=1) == [str(first.pid)]
    second = start(300.0)
    first.kill()
    assert makers(tmp_path, wanted=2) == [str(first.pid), str(second.pid)]
    (tmp_path / "go").touch()
    assert second.communicate(timeout=PATIENCE)[0] == str(second.pid)


def test_who_cannot_know_takes_nobody_for_dead() -> None:
    me = this_process()
    assert me is not None
    assert not me.is_gone()
    assert replace(me, started=me.started - 1).is_gone()  # another process had this number before
    for elsewhere in (
        replace(me, boot="another start", pid=1 << 22),
        replace(me, numbers="pid:[1]", started=0),
    ):
        assert not elsewhere.is_gone()
    assert type(me).from_document(me.to_document()) == me
    with pytest.raises(ValueError, match="no process"):
        type(me).from_document(me.to_document() | {"pid": 0})
