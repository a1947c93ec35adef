"""What a child left is removed, whatever it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.children.removal import remove_tree
from tasks.children.workspace import workspace

_DEEP = 2500  # beyond Python's limit of calls, and a path beyond the kernel's limit of 4,096 bytes


def nest(folder: Path, levels: int) -> None:
    """Make folders in each other, with a file in the last."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("in", dir_fd=here)
        inner = os.open("in", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_deep_folders_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    nest(folder, _DEEP)
    with pytest.raises((RecursionError, OSError)):
        sum(1 for _ in folder.rglob("*"))
    remove_tree(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_run_ends_and_leaves_nothing_behind_whatever_its_child_nested(tmp_path: Path) -> None:
    with workspace(tmp_path) as work:
        nest(work.folder, _DEEP)
    assert list(tmp_path.iterdir()) == []


def test_forbidden_folders_and_many_names_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name in ("a/b/c", "a/d", "e", "1-1-removed/x"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text("x")
    for name in ("a/b/c", "a/b", "a", "e"):
        (folder / name).chmod(0)
    remove_tree(folder)
    assert list(tmp_path.iterdir()) == []


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    kept, folder = tmp_path / "kept", tmp_path / "folder"
    for path in (kept, folder / "in"):
        path.mkdir(parents=True)
    (kept / "file").write_text("stays")
    (folder / "in" / "link").symlink_to(kept)
    (folder / "to a file").symlink_to(kept / "file")
    mode = kept.stat().st_mode
    remove_tree(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").read_text() == "stays"
    assert kept.stat().st_mode == mode

    linked = tmp_path / "linked"
    linked.symlink_to(kept)
    remove_tree(linked)
    assert (kept / "file").read_text() == "stays"


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")
