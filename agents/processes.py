"""Processes that end with the one that started them, a parent for all orphans, and locks among processes.

What an agent starts must not go on without it: a build whose worker died would hold its GPU and be started a
second time. Only the standard library: it runs before anything that takes long to load.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

from tasks.children.parent import die_with

PARENT_VARIABLE = "ENGINEFARM_PARENT_PID"
"""Names the process that a process of an agent ends with."""

_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends, or now if that has ended.

    Does nothing in a process that no agent started.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is not None:
        die_with(int(parent))


def end_soon_after_sigterm(seconds: float) -> None:
    """Kill this process `seconds` after SIGTERM came, if it is still there.

    A thread that waits for a silent S3 keeps Python from ending, for a minute. Works beside whatever handler
    the process has for the signal; without one SIGTERM ends it at once.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        while os.read(reading, 1) != bytes([signal.SIGTERM]):
            pass
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def adopt_orphans() -> None:
    """Become the parent of all processes below this one whose own parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """Return the process ids of this process' children, also of those that ended and were not waited for."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(map(int, listed.read_text("ascii").split()))


def end_children(*, but: set[int]) -> int:
    """Kill all children but those named, and take leave of those that have ended; return how many were left.

    Their own children come to this process then, so call it until it returns 0.
    """
    left = children() - but
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return len(left)


def end_run(pid: int, run: str) -> None:
    """Kill the process `pid`, if it is that of the flow run with the id `run`."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return
    if f"PREFECT__FLOW_RUN_ID={run}".encode() in environment:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def try_lock(name: str) -> int | None:
    """Return the descriptor that holds the lock `name` until it is closed; None if another process has it.

    The lock is held among all processes of this user on this host. The kernel gives it back when the process
    ends, however it ends.
    """
    path = Path(tempfile.gettempdir()) / name
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
