"""A child that prints or writes without end is ended before it fills a disk that others share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasks.children import written
from tasks.children.run import ChildProgram, Limits, run_child
from tasks.domain.errors import ChildFailed


@pytest.mark.parametrize("file", ["", "file", "child's own"])
def test_a_child_that_writes_without_end_is_ended(
    file: str, program: ChildProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "_MOST_PRINTED", 8 << 20)
    monkeypatch.setattr(written, "_EVERY", 1)
    limits = Limits(memory_mib=1024, disk_mib=24)
    at = str(tmp_path / file) if file == "file" else file and "own"
    with pytest.raises(ChildFailed) as caught:
        asyncio.run(run_child(program, {"do": "write", "at": at}, workdir=tmp_path, limits=limits))
    if file:
        assert caught.value.wanted == "at most 24 MiB of files in the run's folder"
        assert "ENGINEFARM_CHILD_DISK_MIB" in caught.value.fix
    else:
        assert caught.value.wanted == "step try to print at most 8 MiB"
        assert "tf.print" in caught.value.fix
    assert not caught.value.retryable
    assert {path.name for path in tmp_path.iterdir()} <= {file}


def test_a_child_that_removes_the_file_that_it_prints_to_is_ended_too(
    program: ChildProgram, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "_MOST_PRINTED", 8 << 20)
    request = {"do": "write", "at": "", "removes_output": True}
    limits = Limits(memory_mib=1024)
    with pytest.raises(ChildFailed, match="to print at most 8 MiB"):
        asyncio.run(run_child(program, request, workdir=workdir, limits=limits))


def test_a_file_with_several_names_counts_once_and_a_sparse_one_as_what_it_takes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(bytes(2 << 20))
    (tmp_path / "again").hardlink_to(data)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert written._occupied_mib(tmp_path) in {2, 3}
