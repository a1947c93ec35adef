"""A folder for one run's files, which goes away with the run, also with one that was killed."""

from __future__ import annotations

import errno
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.domain.errors import DiskFull

_PREFIX = "enginefarm-"
_LOCK = ".lock"


@contextmanager
def workspace(root: Path | None = None) -> Iterator[Path]:
    """Give a new folder below `root` (default: the system's temporary folder) and remove it afterwards.

    A run that was killed could not remove its own. Each folder is locked by its living run, so the next
    run removes those that nobody holds.

    Raises:
        DiskFull: something inside found the disk full.
    """
    parent = root or Path(tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=_PREFIX))
    with (folder / _LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DiskFull(
                wanted=f"to write below {parent}",
                found=str(error),
                fix="free disk space, or give another folder by ENGINEFARM_WORK_DIR",
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # held by a living run, another user's, or no folder of ours
            continue
