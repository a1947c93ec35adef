"""Child processes that end with their parent, cleanup of orphans, and locks between processes.

A process that an agent started must not outlive it: a build whose worker died would keep its GPU while the
run is restarted elsewhere. Imports only the standard library, because it runs before anything slow is loaded.
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
"""The variable with the id of the parent process that a process of an agent ends with."""

_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, or at once if the parent has ended already.

    Does nothing in a process that was not started by an agent.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is not None:
        die_with(int(parent))


def end_soon_after_sigterm(seconds: float) -> None:
    """Kill this process `seconds` after a SIGTERM, if it is still running.

    A thread that waits for an unresponsive S3 keeps Python from exiting for a minute. Works together with any
    handler that the process has for the signal; without a handler, SIGTERM ends the process at once.
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
    """Become the parent of all descendants whose own parent ends (the kernel's child subreaper)."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """Return the process ids of this process's children, including zombies."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(map(int, listed.read_text("ascii").split()))


def end_children(*, but: set[int]) -> int:
    """Kill and reap all children except `but`; return how many there were.

    This process then adopts their children, so call it until it returns 0.
    """
    remaining = children() - but
    for pid in remaining:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return len(remaining)


def end_run(pid: int, run: str) -> None:
    """Kill the process `pid`, if it belongs to the flow run with the id `run`."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return
    if f"PREFECT__FLOW_RUN_ID={run}".encode() in environment:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def try_lock(name: str) -> int | None:
    """Return a descriptor that keeps the lock `name` until it is closed; None if another process has it.

    The lock excludes all processes of this user on this host. The kernel releases it when the process ends,
    however that happens.
    """
    path = Path(tempfile.gettempdir()) / name
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
