"""Locks between the processes and threads of a host. The kernel frees them when their holder ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def lock(path: Path, *, shared: bool = False, wait: bool = True) -> int | None:
    """Lock the file at `path`; return its descriptor, which holds the lock until it is closed.

    Args:
        path: the file; it is made if it is missing. Only who holds the lock alone may remove it.
        shared: several holders may share the lock.
        wait: wait for other holders; otherwise the result is None if there are any.
    """
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        if is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # its last holder removed the file while we waited


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until this thread alone holds the lock at `path`."""
    descriptor = lock(path)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock at `path` alone; yield False at once if somebody else has it."""
    descriptor = lock(path, wait=False)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_at(path: Path, descriptor: int) -> bool:
    """Return whether the file at `path` is still the one that was locked."""
    try:
        at, opened = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (at.st_dev, at.st_ino) == (opened.st_dev, opened.st_ino)
