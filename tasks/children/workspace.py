"""The folder of one run. It is removed after the run, even if the run is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.children.disk import disk_full, is_no_space
from tasks.children.removal import remove_tree
from tasks.children.run import ChildAnswer, ChildProgram, Limits, run_child

_PREFIX = "enginefarm-"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The folder of one run, and the limits of each of its children.

    Attributes:
        folder: for the run's files; its children may write below it.
        limits: of each child.
    """

    folder: Path
    limits: Limits

    def new(self, name: str, suffix: str = "") -> Path:
        """Return a new path below the folder; nothing exists there yet."""
        return self.folder.absolute() / f"{name}-{uuid.uuid4().hex}{suffix}"

    async def run(self, program: ChildProgram, request: Mapping[str, Any]) -> ChildAnswer:
        """Run `program` on `request` in a child process; see `run_child`.

        Raises:
            FarmError: as `run_child`.
        """
        return await run_child(program, request, workdir=self.folder, limits=self.limits)


@contextmanager
def workspace(root: Path | None = None, limits: Limits | None = None) -> Iterator[Workspace]:
    """Yield a workspace in a new folder below `root`, and remove the folder afterwards.

    Args:
        root: the folder to make it in; None for the system's temporary folder.
        limits: of each child; None for the defaults.

    A killed run cannot remove its own folder. Each folder is locked by its living run, so the next run
    removes the folders without a lock.

    Raises:
        DiskFull: there is no space for it, or for a file inside.
    """
    parent = root or Path(tempfile.gettempdir())
    try:
        with _folder_below(parent) as folder:
            yield Workspace(folder=folder, limits=limits or Limits())
    except OSError as error:
        if not is_no_space(error):
            raise
        raise disk_full(f"to write below {parent}", str(error), parent) from error


@contextmanager
def _folder_below(parent: Path) -> Iterator[Path]:
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(parent)
    folder, lock = _new_locked(parent)
    try:
        yield folder
    finally:
        remove_tree(folder)
        os.close(lock)


def _new_locked(parent: Path) -> tuple[Path, int]:
    """Return a new folder and the descriptor of its lock, which is locked."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=_PREFIX))
        lock = os.open(folder / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Before the line above another run could take the lock and consider the folder abandoned.
        if os.fstat(lock).st_nlink:
            return folder, lock
        os.close(lock)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # locked by a living run, or not the folder of a run
            _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return  # a shared folder may contain anything
    lock = os.open(folder / _LOCK, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        if stat.S_ISREG(os.fstat(lock).st_mode):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(folder)
    finally:
        os.close(lock)
