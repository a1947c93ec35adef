"""What a child leaves in the folder of its run leads nowhere else, or the run ends."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tasks.children.removal import remove_tree
from tasks.children.run import ChildProgram, Limits, run_child
from tasks.domain.errors import FarmError, ModelRefused

LIMITS = Limits(memory_mib=1024)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("key")
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def leave(
    program: ChildProgram, folder: Path, at: str, to: str | None, *, fails: bool = False
) -> FarmError | None:
    request = {"do": "leave", "at": str(folder / at), "to": to, "fails": fails}
    try:
        asyncio.run(run_child(program, request, workdir=folder, limits=LIMITS))
    except FarmError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("at", "to"),
    [
        ("reference.npz", "../secret"),
        ("reference.npz", "/etc/passwd"),
        ("saved_model/variables", ".."),
        ("reference.npz", "/does/not/exist"),
        ("reference.npz", None),
    ],
)
def test_a_result_that_leads_out_of_the_run_is_refused(
    at: str, to: str | None, program: ChildProgram, folder: Path
) -> None:
    to = str(folder.parent) if to == ".." else to
    error = leave(program, folder, at, to)
    assert isinstance(error, ModelRefused)
    assert error.found == (f"{at}, no plain file" if to is None else f"{at}, a link to {to}")
    assert "Nothing was uploaded" in error.fix


def test_a_link_within_the_run_is_no_way_out(program: ChildProgram, folder: Path) -> None:
    (folder / "graph.onnx").write_bytes(b"x")
    assert leave(program, folder, "again.onnx", "graph.onnx") is None


def test_no_child_starts_where_one_that_failed_left_a_way_out(program: ChildProgram, folder: Path) -> None:
    error = leave(program, folder, "reference.npz", "../secret", fails=True)
    assert error is not None
    assert error.found == "b"
    later = leave(program, folder, "other", "graph.onnx")
    assert isinstance(later, ModelRefused)
    assert "reference.npz, a link to ../secret" in later.found
    assert not os.path.lexists(folder / "other")


def test_a_tree_that_is_too_deep_to_list_is_refused(program: ChildProgram, folder: Path) -> None:
    place = os.open(folder, os.O_RDONLY)
    for _ in range(2500):  # more than a path can name
        os.mkdir("d" * 9, dir_fd=place)
        inner = os.open("d" * 9, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)
    error = leave(program, folder, "other", "graph.onnx")
    assert isinstance(error, ModelRefused)
    assert "cannot be listed" in error.found
    remove_tree(folder)
