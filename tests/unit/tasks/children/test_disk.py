"""What is told of a full disk."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tasks.children.disk import disk_full, has_room, is_no_space, require_space
from tasks.domain.errors import DiskFull


def test_a_full_disk_is_told_with_its_folder_its_room_and_what_to_do(tmp_path: Path) -> None:
    error = disk_full("to write", "no space", tmp_path)
    assert f"free in {tmp_path}" in error.found
    assert "are free" in error.found
    assert "ENGINEFARM_WORK_DIR" in error.fix
    assert "run it again" in error.fix
    assert "cannot be examined" in disk_full("to write", "no space", tmp_path / "gone").found


def test_what_does_not_fit_is_refused_before_it_is_written(tmp_path: Path) -> None:
    require_space("a plan", 1, tmp_path)
    with pytest.raises(DiskFull, match=r"a plan; found 1073741824.0 GiB are needed; .* are free in"):
        require_space("a plan", 1 << 60, tmp_path)


def test_errors_of_full_disks_and_others(tmp_path: Path) -> None:
    assert is_no_space(OSError(errno.ENOSPC, "full"))
    assert is_no_space(OSError(errno.EDQUOT, "quota"))
    assert not is_no_space(OSError(errno.EACCES, "no"))
    assert has_room(tmp_path)
    assert has_room(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []
