"""Starts a child process, waits for its answer, and ends its process group."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tasks.children.environment import child_environment
from tasks.children.progress import report_progress
from tasks.domain.errors import (
    ChildCrashed,
    ChildFailed,
    ChildOutOfMemory,
    ChildTimedOut,
    DiskFull,
    FarmError,
    ToolchainBroken,
    error_from_document,
)
from tasks.domain.printable import printable_name

_ENTRY = Path(__file__).with_name("entry.py")
_POLL_SECONDS = 0.1
_LAST_OUTPUT = 2000
_DISK_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
_OUT_OF_MEMORY = (
    "bad_alloc",
    "MemoryError",
    "OOM when allocating",
    "Cannot allocate memory",
    "out of memory",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a child may use: memory in MiB and wall time in seconds."""

    memory_mib: int = 8192
    seconds: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildProgram:
    """What a child runs: a module with `main(request, report)`, in an interpreter.

    Attributes:
        module: full name of a module below `tasks`.
        step: how progress and errors call it.
        interpreter: path of the Python interpreter.
    """

    module: str
    step: str
    interpreter: str = sys.executable


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildAnswer:
    """What a child returned.

    Attributes:
        result: what the module's `main` returned.
        seconds: wall time from start to end, the interpreter's start included.
        peak_mib: most resident memory, in MiB.
    """

    result: dict[str, Any]
    seconds: float
    peak_mib: float


async def run_child(
    program: ChildProgram, request: Mapping[str, Any], *, workdir: Path, limits: Limits
) -> ChildAnswer:
    """Run `program` on `request` in a new process group and return its answer.

    The child and all of its process group are killed when this call ends, however it ends. A descendant
    that moved to a group or session of its own (setsid, a daemon) is not found and lives on. When the
    farm's own process is killed, the kernel ends the child, but not what the child started.

    Raises:
        FarmError: the child's own typed error.
        ChildCrashed: it was ended by a signal; the error carries its last output.
        ChildFailed: it raised an error that has no name here, ended without an answer or with one that
            cannot be read, or this host could not start it.
        ChildOutOfMemory: it reached `limits.memory_mib`.
        ChildTimedOut: it reached `limits.seconds`.
        DiskFull: it found no space for its answer.
        ToolchainBroken: there is no interpreter that this user may run at its path.
    """
    with tempfile.TemporaryDirectory(dir=workdir, prefix=f"child-{program.step}-") as folder:
        home = Path(folder)
        document = {"memory_mib": limits.memory_mib, "parent": os.getpid(), "request": dict(request)}
        (home / "request.json").write_text(json.dumps(document), "utf-8")
        started = asyncio.get_running_loop().time()
        status = await _run_to_end(program, home, limits)
        seconds = asyncio.get_running_loop().time() - started
        return _read_answer(program, home, status, limits, seconds)


async def _run_to_end(program: ChildProgram, home: Path, limits: Limits) -> int:
    """Return the exit status; the process group is gone afterwards."""
    with (home / "output").open("wb") as output:
        try:
            # Output goes to a file: a grandchild that holds a pipe open would keep us waiting.
            process = await asyncio.create_subprocess_exec(
                program.interpreter, str(_ENTRY), program.module, str(home),
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=home, env=child_environment(program.interpreter, home), start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise _not_started(program, error) from error
    try:
        async with asyncio.timeout(limits.seconds):
            return await _wait_with_progress(process, program.step, home / "progress")
    except TimeoutError as error:
        raise ChildTimedOut(
            wanted=f"step {program.step} within {limits.seconds:.0f} s",
            found="it was still running and has been ended",
            fix="raise ENGINEFARM_CHILD_SECONDS, or lower optimization_level in build.yaml",
        ) from error
    finally:
        _end_group(process.pid)
        await asyncio.shield(process.wait())


def _not_started(program: ChildProgram, error: OSError) -> FarmError:
    wanted = f"to start {program.interpreter}"
    no_program = isinstance(error, (FileNotFoundError, PermissionError, NotADirectoryError))
    if no_program or error.errno == errno.ENOEXEC:
        return ToolchainBroken(
            wanted=wanted,
            found=str(error),
            fix="give the path of a Python interpreter that this user may run",
        )
    return ChildFailed(
        wanted=wanted,
        found=str(error),
        fix="give this host more memory, processes or open files (see `ulimit -a`), or run less on it",
    )


async def _wait_with_progress(process: asyncio.subprocess.Process, step: str, progress: Path) -> int:
    report_progress(step, "", 0.0)
    waiter = asyncio.ensure_future(process.wait())
    read = 0
    while not waiter.done():
        await asyncio.wait({waiter}, timeout=_POLL_SECONDS)
        read = _pass_on(step, progress, read)
    report_progress(step, "", 1.0)
    return waiter.result()


def _pass_on(step: str, progress: Path, read: int) -> int:
    """Report the complete lines after the first `read` bytes; return how many bytes are read now."""
    data = progress.read_bytes()[read:] if progress.exists() else b""
    complete = data[: data.rfind(b"\n") + 1]
    for line in complete.splitlines():
        try:
            report = json.loads(line)
            phase, fraction = printable_name(report["phase"]), min(max(float(report["fraction"]), 0.0), 1.0)
        except (ValueError, KeyError, TypeError):
            continue  # a model is a program, too, and can write into this file
        report_progress(step, phase, fraction)
    return read + len(complete)


def _end_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _read_answer(
    program: ChildProgram, home: Path, status: int, limits: Limits, seconds: float
) -> ChildAnswer:
    answer = home / "answer.json"
    if not answer.exists():
        _raise_crash(program, status, _last_output(home), limits)
    try:
        document = json.loads(answer.read_bytes())
        if "error" not in document:
            return ChildAnswer(result=document["result"], seconds=seconds, peak_mib=document["peak_mib"])
        failure = error_from_document(document["error"])
    except (ValueError, KeyError, TypeError) as error:
        raise ChildFailed(
            wanted=f"an answer of step {program.step}",
            found=f"one that cannot be read ({error!r}); last output: {_last_output(home) or 'none'}",
            fix="try again; if it stays, the model or a library overwrites the answer: report it",
        ) from error
    raise failure


def _last_output(home: Path) -> str:
    with (home / "output").open("rb") as output:
        output.seek(0, os.SEEK_END)
        output.seek(max(0, output.tell() - _LAST_OUTPUT))
        return output.read().decode("utf-8", "replace").strip()


def _raise_crash(program: ChildProgram, status: int, output: str, limits: Limits) -> NoReturn:
    if any(sign in output for sign in _OUT_OF_MEMORY):
        raise ChildOutOfMemory(
            wanted=f"step {program.step} within {limits.memory_mib} MiB",
            found=f"an allocation that did not fit; last output: {output}",
            fix="raise ENGINEFARM_CHILD_MEMORY_MIB, or lower the largest shapes in build.yaml",
        )
    if status >= 0:
        _raise_exit(program, status, output)
    name = signal.Signals(-status).name
    raise ChildCrashed(
        wanted=f"step {program.step} to end by itself",
        found=f"the process was ended by {name}; last output: {output or 'none'}",
        fix=(
            "the kernel or an operator killed it: give the host more memory"
            if name == "SIGKILL"
            else "the library crashed on this model: try another opset, precision or TensorRT version"
        ),
    )


def _raise_exit(program: ChildProgram, status: int, output: str) -> NoReturn:
    if any(sign in output for sign in _DISK_FULL):
        raise DiskFull(
            wanted=f"step {program.step} to write its files",
            found=f"exit status {status}; last output: {output}",
            fix="free disk space, or give another folder by ENGINEFARM_WORK_DIR",
        )
    raise ChildFailed(
        wanted=f"{program.interpreter} to run {program.module}",
        found=f"exit status {status} before it answered; last output: {output or 'none'}",
        fix="run `enginefarm doctor`, which tries each interpreter; if they are fine, "
        "the model or a library ended the process: report it with this output",
    )
