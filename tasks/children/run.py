"""Starts a child process, waits for its answer, and ends its process group."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tasks.children.answers import not_started, read_answer, read_plain
from tasks.children.deadlock import DeadlockWatch
from tasks.children.group import GroupWatch
from tasks.children.leftovers import refuse_ways_out
from tasks.children.program import ChildAnswer, ChildProgram, Confinement, Limits
from tasks.children.progress import report_progress
from tasks.children.removal import remove_tree
from tasks.children.sandbox import launch_command, launcher_environment, require_sandbox
from tasks.children.written import WriteWatch
from tasks.domain.errors import ChildOutOfMemory, ChildTimedOut
from tasks.domain.printable import printable_name

__all__ = ["ChildAnswer", "ChildProgram", "Confinement", "Limits", "run_child"]

_POLL_SECONDS = 0.1
_END_SECONDS = 5.0
_MOST_PROGRESS = 1 << 20


async def run_child(
    program: ChildProgram, request: Mapping[str, Any], *, workdir: Path, limits: Limits
) -> ChildAnswer:
    """Run `program` on `request` in processes of its own and return its answer.

    `program.confined` says how much of the host it reaches. Of the host's files, that is what is below
    `workdir`, and each `Path` in `request` for reading. A string in `request` gives access to nothing.

    The child and all that it started are killed when this call ends, however it ends, and when the farm's
    own process is killed. `tasks.children.sandbox.protection` says whether, on this host, that includes
    processes that moved to a session of their own.

    Raises:
        FarmError: the child's own typed error.
        ChildCrashed: it was ended by a signal; the error carries its last output.
        ChildKilled: the signal was SIGKILL, and this call did not send it.
        ChildFailed: it raised an error that is not the farm's, ended without a readable answer, wrote too
            much, started too many processes, or could not be started on this host.
        ChildOutOfMemory: it reached `limits.memory_mib`, alone or with all that it started.
        ChildTimedOut: it reached `limits.seconds`.
        DiskFull: it found no space for its answer.
        ToolchainBroken: there is no interpreter that this user may run at its path.
        ModelRefused: a child left a link that leads out of `workdir`, or what is no plain file.
    """
    if limits.require_sandbox:
        require_sandbox(program)
    home = Path(tempfile.mkdtemp(dir=workdir, prefix=f"child-{program.step}-"))
    try:
        refuse_ways_out(workdir, program.step, but=home)
        command = _command(program, request, home, workdir, limits)
        started = asyncio.get_running_loop().time()
        status = await _run_to_end(program, command, home, limits)
        seconds = asyncio.get_running_loop().time() - started
        answer = read_answer(program, home, status, limits, seconds)
        refuse_ways_out(workdir, program.step, but=home)
        return answer
    finally:
        remove_tree(home)


def _command(
    program: ChildProgram, request: Mapping[str, Any], home: Path, workdir: Path, limits: Limits
) -> list[str]:
    """Write the request to the child's folder `home`; return the command that runs `program`."""
    readable: list[Path] = []
    document = {
        "memory_mib": limits.memory_mib,
        "stack": resource.getrlimit(resource.RLIMIT_STACK)[0],
        "request": _as_json(dict(request), readable),
    }
    (home / "request.json").write_text(json.dumps(document), "utf-8")
    return launch_command(program, home, reads=readable, writes=workdir)


def _as_json(value: Any, readable: list[Path]) -> Any:
    """Return `value` with absolute paths as strings and note them: the child has another working folder."""
    if isinstance(value, Path):
        readable.append(value.absolute())
        return str(value.absolute())
    if isinstance(value, Mapping):
        return {key: _as_json(item, readable) for key, item in value.items()}
    return [_as_json(item, readable) for item in value] if isinstance(value, (list, tuple)) else value


async def _run_to_end(program: ChildProgram, command: list[str], home: Path, limits: Limits) -> int:
    """Return the exit status; all processes are gone afterwards."""
    with (home / "output").open("wb") as output:
        process = await _start(program, command, home, output)
        written = WriteWatch(
            program.step, output=output.fileno(), folder=home.parent, most_mib=limits.disk_mib
        )
        try:
            async with asyncio.timeout(limits.seconds):
                return await _wait_with_progress(process, home, limits, written)
        except TimeoutError as error:
            raise ChildTimedOut(
                wanted=f"step {program.step} within {limits.seconds:.0f} s",
                found="it was still running and was ended",
                fix="raise ENGINEFARM_CHILD_SECONDS"
                + (", or lower optimization_level in build.yaml" if program.step.startswith("build") else ""),
            ) from error
        finally:
            await asyncio.shield(_end_processes(process))


async def _start(
    program: ChildProgram, command: list[str], home: Path, output: IO[bytes]
) -> asyncio.subprocess.Process:
    try:
        # Output goes to a file: a grandchild that holds a pipe open would block this call.
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output,
            cwd=home, env=launcher_environment(), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise not_started(program, error) from error


async def _wait_with_progress(
    process: asyncio.subprocess.Process, home: Path, limits: Limits, written: WriteWatch
) -> int:
    step = written.step
    report_progress(step, "", 0.0)
    waiter = asyncio.ensure_future(process.wait())
    watch = DeadlockWatch(process.pid, home, limits.memory_mib)
    group = GroupWatch(step, launcher=process.pid, limits=limits)
    read = 0
    while not waiter.done():
        await asyncio.wait({waiter}, timeout=_POLL_SECONDS)
        read = _report_new_lines(step, home / "progress", read)
        written.check()
        group.check()
        if (used_mib := watch.deadlocked_mib()) is not None:
            raise ChildOutOfMemory(
                wanted=f"step {step} within {limits.memory_mib} MiB",
                found=f"{used_mib} MiB in use, and all threads waiting for each other forever, which happens "
                "if there is no memory to start another thread",
                fix="raise ENGINEFARM_CHILD_MEMORY_MIB, or lower the largest shapes in build.yaml",
            )
    report_progress(step, "", 1.0)
    return waiter.result()


def _report_new_lines(step: str, progress: Path, read: int) -> int:
    """Report the complete lines after the first `read` bytes; return how many bytes are read now."""
    data = read_plain(progress, read, _MOST_PROGRESS)
    complete = data[: data.rfind(b"\n") + 1]
    for line in complete.splitlines():
        try:
            report = json.loads(line)
            phase, fraction = printable_name(report["phase"]), min(max(float(report["fraction"]), 0.0), 1.0)
        except (ValueError, KeyError, TypeError):
            continue  # a model is a program and can write into this file
        report_progress(step, phase, fraction)
    return read + len(complete)


async def _end_processes(process: asyncio.subprocess.Process) -> None:
    """End the launcher, which ends the child and all that it started, and at last the process group."""
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
