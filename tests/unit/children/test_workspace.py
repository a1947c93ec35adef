"""Folders of runs: gone with their run, and swept where the run could not."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

import tasks
from tasks.children.workspace import workspace
from tasks.domain.errors import DiskFull


def test_a_folder_goes_with_its_run_however_it_ends(tmp_path: Path) -> None:
    with workspace(tmp_path / "new") as folder:
        (folder / "large").mkdir()
        (folder / "large" / "file").write_bytes(b"x")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(RuntimeError), workspace(tmp_path):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_folders_of_living_runs_stay(tmp_path: Path) -> None:
    with workspace(tmp_path) as first, workspace(tmp_path) as second:
        assert first != second
        assert first.is_dir()
        assert second.is_dir()


def test_the_folder_of_a_killed_run_is_removed_by_the_next(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from tasks.children.workspace import workspace
with workspace(Path({str(tmp_path)!r})) as folder:
    (folder / "file").write_text("left behind")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=Path(tasks.__file__).parent.parent, check=False)
    assert ended.returncode == -9
    (left,) = tmp_path.iterdir()
    (tmp_path / "enginefarm-notes.txt").write_text("a file of somebody else")
    with workspace(tmp_path):
        assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["enginefarm-notes.txt"]


def test_a_full_disk_is_told_as_such_and_other_errors_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="ENGINEFARM_WORK_DIR"), workspace(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), workspace(tmp_path):
        raise OSError(errno.EACCES, "Permission denied")
    assert list(tmp_path.iterdir()) == []
