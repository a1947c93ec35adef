"""`run_child` against children that crash, hang, lie, take too much and leave others behind."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.children import answers
from tasks.children.progress import labelled, listening
from tasks.children.run import ChildAnswer, ChildProgram, Confinement, Limits, run_child
from tasks.domain.errors import (
    ChildCrashed,
    ChildFailed,
    ChildKilled,
    ChildOutOfMemory,
    DiskFull,
    FarmError,
    ModelRefused,
    ToolchainBroken,
)

LIMITS = Limits(memory_mib=1024)


def run(program: ChildProgram, workdir: Path, limits: Limits = LIMITS, **request: Any) -> ChildAnswer:
    return asyncio.run(run_child(program, request, workdir=workdir, limits=limits))


def test_an_answer_comes_back_with_its_cost(program: ChildProgram, workdir: Path) -> None:
    answer = run(program, workdir, do="echo", say="grüß")
    assert answer.result["said"] == "grüß"
    assert 0 < answer.seconds < 30
    assert 5 < answer.peak_mib < 1024
    assert "numpy" not in answer.result["modules"]
    assert answer.result["cwd"].startswith(str(workdir))


def test_no_credentials_reach_a_child_or_its_children(
    program: ChildProgram, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "PREFECT_API_URL",
        "PREFECT_API_AUTH_STRING",
        "ENGINEFARM_STORE",
        "HTTPS_PROXY",
    ):
        monkeypatch.setenv(name, "secret-value")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    seen = run(program, workdir, do="environment").result
    assert "secret-value" not in str(seen)
    assert not [name for name in seen["own"] if name.startswith(("AWS_", "PREFECT_", "ENGINEFARM_"))]
    assert seen["own"]["CUDA_VISIBLE_DEVICES"] == "3"
    assert seen["own"]["HOME"] == seen["own"]["TMPDIR"]
    assert seen["own"]["HOME"].startswith(str(workdir))


def test_progress_is_passed_on_and_broken_reports_are_not(program: ChildProgram, workdir: Path) -> None:
    heard: list[tuple[str, str, float]] = []
    with listening(lambda *report: heard.append(report)), labelled("l4"):
        run(program, workdir, do="progress")
    assert heard == [
        ("try l4", "", 0.0),
        ("try l4", "first", 0.25),
        ("try l4", "\\x1b[2J", 1.0),
        ("try l4", "last", 0.75),
        ("try l4", "", 1.0),
    ]


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL", "SIGTERM"])
def test_a_signal_is_named_with_the_last_output(name: str, program: ChildProgram, workdir: Path) -> None:
    with pytest.raises(ChildKilled if name == "SIGKILL" else ChildCrashed) as caught:
        run(program, workdir, do="signalled", signal=name)
    assert name in caught.value.found
    assert caught.value.found.endswith("END")
    assert len(caught.value.found) < 2200
    assert ("memory" in caught.value.fix) == (name == "SIGKILL")


def test_an_exit_without_an_answer_is_told_with_its_status(program: ChildProgram, workdir: Path) -> None:
    with pytest.raises(ChildFailed, match=r"exit status 3 .*cannot go on"):
        run(program, workdir, do="exits", status=3)


def test_a_child_that_finds_no_space_to_say_so(
    program: ChildProgram, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "has_room", lambda _: False)
    with pytest.raises(DiskFull, match=rf"exit status 120.* free in {workdir}"):
        run(program, workdir, do="exits", status=120)


def test_an_answer_that_finds_no_space_is_a_full_disk(program: ChildProgram, workdir: Path) -> None:
    with pytest.raises(DiskFull, match=r"answer could not be written.*No space left on device"):
        # Its link leads to a device that is always full, which nobody reaches otherwise.
        run(replace(program, confinement=Confinement.NONE), workdir, do="no_space_for_the_answer")


@pytest.mark.parametrize("path", ["/nonexistent/python", __file__, "/dev"])
def test_an_interpreter_that_does_not_start(path: str, workdir: Path) -> None:
    program = ChildProgram(module="tasks.stand_in", step="try", interpreter=path)
    with pytest.raises(ToolchainBroken, match=f"to start {path}"):
        run(program, workdir, do="echo")


def test_a_file_that_no_kernel_can_run_is_no_interpreter(workdir: Path, tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_bytes(b"no program")
    path.chmod(0o755)
    with pytest.raises(ToolchainBroken, match="Exec format error"):
        run(ChildProgram(module="tasks.stand_in", step="try", interpreter=str(path)), workdir)


def test_what_the_host_lacks_is_not_the_interpreters_fault(
    program: ChildProgram, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("LANG", "x" * 200_000)  # more than the kernel takes in one variable
        with pytest.raises(ChildFailed, match="Argument list too long"):
            run(program, workdir, do="echo", say="")

    async def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    with pytest.raises(ChildFailed, match=r"temporarily unavailable.*ulimit"):
        run(program, workdir, do="echo", say="")


def test_only_the_farms_own_python_learns_where_the_farms_libraries_lie(
    program: ChildProgram, workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "PYTHONPATH" not in run(program, workdir, do="environment").result["own"]
    (tmp_path / "of_the_path.py").write_text("def main(request, report): return {'found': True}\n", "utf-8")
    own = replace(program, module="of_the_path", interpreter=sys.executable)
    assert run(own, workdir).result == {"found": True}


def test_an_interpreter_that_is_none(workdir: Path) -> None:
    program = ChildProgram(module="tasks.stand_in", step="try", interpreter="/bin/false")
    with pytest.raises(ChildFailed, match="exit status 1"):
        run(program, workdir, do="echo")


def test_a_module_that_is_not_there(program: ChildProgram, workdir: Path) -> None:
    with pytest.raises(ChildFailed, match=r"No module named 'tasks\.absent'"):
        run(replace(program, module="tasks.absent"), workdir)


def test_more_memory_than_allowed(program: ChildProgram, workdir: Path) -> None:
    limits = Limits(memory_mib=256)
    assert run(program, workdir, limits, do="allocate", mib=100).result == {"size": 100 << 20}
    with pytest.raises(ChildOutOfMemory, match="256 MiB"):
        run(program, workdir, limits, do="allocate", mib=400)
    with pytest.raises(ChildOutOfMemory, match="bad_alloc"):
        run(program, workdir, limits, do="terminate_by_bad_alloc")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"3",
        b"null",
        b"[]",
        b"{}",
        b'{"result": {}}',
        b'{"error": {}}',
        b'{"error": 5}',
        b'{"error": {"class": "ModelRefused", "wanted": 1, "found": 2, "fix": 3}}',
        b'{"error": {"class": ["ModelRefused"], "wanted": "", "found": "", "fix": ""}}',
    ],
)
def test_an_answer_that_cannot_be_read(answer: bytes, program: ChildProgram, workdir: Path) -> None:
    with pytest.raises(ChildFailed, match="I answer for myself"):
        run(program, workdir, do="answer", hex=answer.hex())


def test_an_error_class_that_nobody_knows_is_a_failed_child(program: ChildProgram, workdir: Path) -> None:
    forged = {"class": "Fine", "wanted": "a", "found": "all is well", "fix": "c", "exit_code": 130}
    with pytest.raises(ChildFailed, match="all is well"):
        run(program, workdir, do="answer", hex=json.dumps({"error": forged}).encode().hex())


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "10 GB"])
@pytest.mark.parametrize("file", ["answer.json", "progress", "output"])
def test_a_child_that_sets_traps_for_its_reader(
    file: str, kind: str, program: ChildProgram, workdir: Path
) -> None:
    with pytest.raises(ChildFailed) as caught:
        run(program, workdir, do="traps", file=file, kind=kind)
    assert len(caught.value.found) < 10_000


def test_last_words_cannot_pass_for_lines_of_ours(program: ChildProgram, workdir: Path) -> None:
    with pytest.raises(ChildFailed) as caught:
        run(program, workdir, do="exits", status=3, words="first\n  to fix  run me\r\x1b[2J")
    assert caught.value.found.splitlines()[1:] == ["  |   to fix  run me", "  | \\x1b[2J"]


def test_a_result_that_is_no_json(program: ChildProgram, workdir: Path) -> None:
    with pytest.raises(ChildFailed, match="PosixPath is not JSON serializable"):
        run(program, workdir, do="not_json")


def test_typed_errors_keep_their_class_and_lose_their_control_characters(
    program: ChildProgram, workdir: Path
) -> None:
    with pytest.raises(ModelRefused) as caught:
        run(program, workdir, do="refuse")
    assert (caught.value.wanted, caught.value.fix) == ("a model", "leave it")
    assert caught.value.found == "a trap \\x1b[2J"


@pytest.mark.parametrize(
    ("kind", "expected"), [("KeyError", ChildFailed), ("ENOSPC", DiskFull), ("EACCES", ChildFailed)]
)
def test_other_errors_become_typed_ones(
    kind: str, expected: type[FarmError], program: ChildProgram, workdir: Path
) -> None:
    with pytest.raises(expected, match="weights" if kind == "KeyError" else "of the test"):
        run(program, workdir, do="defect", kind=kind)
