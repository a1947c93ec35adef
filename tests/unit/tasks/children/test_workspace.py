"""Folders of runs: gone with their run, and swept where the run could not."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tasks
from tasks.children.workspace import workspace
from tasks.domain.errors import DiskFull


def test_a_folder_goes_with_its_run_however_it_ends(tmp_path: Path) -> None:
    with workspace(tmp_path / "new") as work:
        (work.folder / "large").mkdir()
        (work.folder / "large" / "file").write_bytes(b"x")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(RuntimeError), workspace(tmp_path):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_new_name_is_never_given_twice(tmp_path: Path) -> None:
    with workspace(tmp_path) as work:
        names = {work.new("plan", ".engine") for _ in range(100)}
        assert len(names) == 100
        assert all(path.parent == work.folder and path.suffix == ".engine" for path in names)
        assert not any(path.exists() for path in names)


def test_folders_of_living_runs_stay(tmp_path: Path) -> None:
    with workspace(tmp_path) as first, workspace(tmp_path) as second:
        assert first.folder != second.folder
        assert first.folder.is_dir()
        assert second.folder.is_dir()


def test_the_folder_of_a_killed_run_is_removed_by_the_next(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from tasks.children.workspace import workspace
with workspace(Path({str(tmp_path)!r})) as work:
    (work.folder / "file").write_text("left behind")
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


def test_a_run_that_sweeps_before_the_lock_is_held_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    swept: list[Path] = []

    def sweep_first(descriptor: int, operation: int) -> None:
        if not swept:
            swept.extend(tmp_path.iterdir())
            with workspace(tmp_path):  # another run starts
                pass
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    with workspace(tmp_path) as work:
        assert not swept[0].exists()
        assert [path.name for path in work.folder.iterdir()] == [".lock"]
        with workspace(tmp_path):
            assert work.folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def _abandoned(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    (folder / ".lock").touch()
    return folder


def test_traps_in_a_shared_folder_are_left_alone(tmp_path: Path) -> None:
    shared, elsewhere = tmp_path / "shared", _abandoned(tmp_path, "elsewhere")
    for name in ("pipe", "link"):
        (shared / f"enginefarm-{name}").mkdir(parents=True)
    os.mkfifo(shared / "enginefarm-pipe" / ".lock")
    (shared / "enginefarm-link" / ".lock").symlink_to(elsewhere / ".lock")
    (shared / "enginefarm-folder").symlink_to(elsewhere)
    before = sorted(shared.iterdir())
    with workspace(shared):
        pass
    assert sorted(shared.iterdir()) == before
    assert (elsewhere / ".lock").exists()


def test_folders_of_other_users_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = _abandoned(tmp_path, "enginefarm-left")
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with workspace(tmp_path):
            assert left.exists()
    with workspace(tmp_path):
        assert not left.exists()
