"""Downloads in progress are told apart, and what a killed process left of one goes with the next."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

from tasks.store.part_files import part_of


def test_parts_of_dead_processes_of_this_host_are_removed_and_no_others(tmp_path: Path) -> None:
    plan = tmp_path / "a[1]*.plan"
    ended = subprocess.Popen(["true"])
    ended.wait()
    host = socket.gethostname()
    dead = tmp_path / f".{plan.name}.{host}.{ended.pid}.0.part"
    kept = [
        tmp_path / f".{plan.name}.{host}.{os.getpid()}.0.part",  # of this process
        tmp_path / f".{plan.name}.elsewhere.{ended.pid}.0.part",  # of another host that shares the folder
        tmp_path / f".another.{host}.{ended.pid}.0.part",
    ]
    for file in (dead, *kept):
        file.touch()
    part = part_of(plan)
    assert set(tmp_path.iterdir()) == set(kept)
    assert part.parent == tmp_path
    assert part not in kept
    assert part_of(plan) != part


def test_a_name_that_leaves_no_room_gets_a_short_part(tmp_path: Path) -> None:
    part_of(tmp_path / ("x" * 250)).touch()
