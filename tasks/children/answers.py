"""The answer of a child, or why there is none. Untrusted code may have written the files."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
from pathlib import Path
from typing import NoReturn

from tasks.children.disk import disk_full, has_room
from tasks.children.program import ChildAnswer, ChildProgram, Limits
from tasks.domain.error_documents import UnrecognizedError, error_from_document
from tasks.domain.errors import (
    ChildCrashed,
    ChildFailed,
    ChildKilled,
    ChildOutOfMemory,
    FarmError,
    ToolchainBroken,
)
from tasks.domain.printable import printable_name

_LAST_OUTPUT = 2000
_LARGEST_ANSWER = 64 << 20
_SIGNALLED = 128  # the launcher's status after a signal is 128 plus its number
_DISK_FULL = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
_OUT_OF_MEMORY = (
    "bad_alloc",
    "MemoryError",
    "OOM when allocating",
    "Cannot allocate memory",
    "out of memory",
    # A thread that could not be started: TensorFlow, onnxruntime, glibc and NumPy's OpenBLAS.
    "pthread_create() failed",
    "pthread_create failed",
    "cannot allocate memory for thread-local data",
    "Memory allocation still failed",
)


def read_plain(path: Path, start: int, most: int) -> bytes:
    """Return up to `most` bytes of a file in a child's folder, from byte `start` (below 0: from its end).

    The child may have put anything there: a link, a pipe, a device or terabytes. Anything that is not a plain
    file is read as empty.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return b""
        return os.pread(descriptor, most, start if start >= 0 else max(0, status.st_size + start))
    finally:
        os.close(descriptor)


def not_started(program: ChildProgram, error: OSError) -> FarmError:
    """Return the error for a `program` that could not be started."""
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


def read_answer(
    program: ChildProgram, home: Path, status: int, limits: Limits, seconds: float
) -> ChildAnswer:
    """Return the answer of the child, which has ended.

    Raises:
        FarmError: see `tasks.children.run.run_child`.
    """
    answer = read_plain(home / "answer.json", 0, _LARGEST_ANSWER)
    if refused := read_plain(home / "not-started", 0, _LAST_OUTPUT):
        number, _, reason = refused.decode("utf-8", "replace").partition(" ")
        raise not_started(program, OSError(int(number) if number.isdigit() else 0, reason))
    if not (home / "answer.json").is_file():
        _raise_crash(program, status, home, limits)
    try:
        document = json.loads(answer)
        if "error" not in document:
            peak = float(document["peak_mib"])
            return ChildAnswer(result=dict(document["result"]), seconds=seconds, peak_mib=peak)
        failure = _on_one_line(error_from_document(document["error"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ChildFailed(
            wanted=f"the result of step {program.step}",
            found=f"a result that cannot be read ({error!r}); last output: {_last_output(home) or 'none'}",
            fix="try again; if it happens again, the model or a library overwrites the result file: please "
            "report it",
        ) from error
    raise failure


def _on_one_line(error: FarmError) -> FarmError:
    """Return `error` with line feeds escaped: untrusted names must not forge lines.

    A child runs this version of the farm: an unknown class is untrusted, too.
    """
    texts = error.wanted, error.found, error.fix
    wanted, actual, fix = (printable_name(text) for text in texts)
    cls = ChildFailed if isinstance(error, UnrecognizedError) else type(error)
    return cls(wanted=wanted, found=actual, fix=fix)


def _last_output(home: Path) -> str:
    text = read_plain(home / "output", -_LAST_OUTPUT, _LAST_OUTPUT).decode("utf-8", "replace").strip()
    return "\n  | ".join(printable_name(line) for line in text.splitlines())


def _raise_crash(program: ChildProgram, status: int, home: Path, limits: Limits) -> NoReturn:
    output = _last_output(home)
    if any(sign in output for sign in _OUT_OF_MEMORY):
        raise ChildOutOfMemory(
            wanted=f"step {program.step} within {limits.memory_mib} MiB",
            found=f"an allocation that did not fit; last output: {output}",
            fix="raise ENGINEFARM_CHILD_MEMORY_MIB, or lower the largest shapes in build.yaml",
        )
    number = status - _SIGNALLED if status > _SIGNALLED else -status
    if number <= 0 or number not in {*signal.Signals}:
        _raise_exit(program, status, output, home)
    wanted = f"step {program.step} to end by itself"
    ending = f"{signal.Signals(number).name} ended the process; last output: {output or 'none'}"
    if number == signal.SIGKILL:  # no library sends it, and of a child that the farm killed no answer is read
        raise ChildKilled(
            wanted=wanted,
            found=ending,
            fix="the kernel or an operator killed it. The step is retried once: if it is killed again, "
            "give the host more memory, or run less on it",
        )
    raise ChildCrashed(
        wanted=wanted,
        found=ending,
        fix="the library crashed on this model: "
        + (
            "try another precision or TensorRT version"
            if program.step.startswith("build")
            else "report it with this output and the model's structure"
        ),
    )


def _raise_exit(program: ChildProgram, status: int, output: str, home: Path) -> NoReturn:
    # Python's message about it goes to a file on the same disk.
    if any(sign in output for sign in _DISK_FULL) or not has_room(home):
        ending = f"exit status {status}; last output: {output or 'none'}"
        raise disk_full(f"step {program.step} to write its files", ending, home.parent)
    raise ChildFailed(
        wanted=f"{program.interpreter} to run {program.module}",
        found=f"exit status {status} before it answered; last output: {output or 'none'}",
        fix="run `enginefarm doctor`, which tries each interpreter; if they work, "
        "the model or a library ended the process: report it with this output",
    )
