"""The error for a full disk: the folder, its free space, and the fix.

Also runs inside the interpreters of toolchains: Python 3.10.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from pathlib import Path

from tasks.domain.errors import DiskFull

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_UNITS = ("bytes", "KiB", "MiB", "GiB")
_STEP = 1024
_LITTLE = 16 << 10


def is_no_space(error: BaseException) -> bool:
    """Return whether `error` means a full disk or an exceeded quota."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def disk_full(wanted: str, problem: str, folder: Path) -> DiskFull:
    """Return the error for a write below `folder` that did not fit."""
    return DiskFull(
        wanted=wanted,
        found=f"{problem}; {_room(folder)}",
        fix=f"free disk space for {folder}, or set ENGINEFARM_WORK_DIR to another folder; then run it again",
    )


def require_space(wanted: str, needed: int, folder: Path) -> None:
    """Check that a file fits on the disk before it is written.

    Args:
        wanted: what is written, for people.
        needed: its size in bytes.
        folder: an existing folder to write to.

    Raises:
        DiskFull: it does not fit.
    """
    if needed > shutil.disk_usage(folder).free:
        raise disk_full(wanted, f"{_size(needed)} are needed", folder)


def has_room(folder: Path) -> bool:
    """Return whether a small file can be written in `folder`."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_LITTLE))
    except OSError as error:
        return not is_no_space(error)
    return True


def _room(folder: Path) -> str:
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return f"{folder} cannot be examined: {error}"
    return f"{_size(usage.free)} of {_size(usage.total)} are free in {folder}"


def _size(number: float) -> str:
    unit = 0
    while number >= _STEP and unit < len(_UNITS) - 1:
        number, unit = number / _STEP, unit + 1
    return f"{number:.{0 if unit == 0 else 1}f} {_UNITS[unit]}"
