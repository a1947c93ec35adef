"""Locks among all processes of this user on this host."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path


def try_lock(name: str) -> int | None:
    """Return the descriptor that holds the lock `name` until it is closed; None where another process has it.

    The kernel gives it back when the process ends, however it ends.
    """
    path = Path(tempfile.gettempdir()) / name
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
