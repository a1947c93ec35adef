"""The error for a full disk: which folder, how much space it has, and how to fix it.

Also runs inside the interpreters of toolchains, so it keeps to Python 3.10.
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
    """Say whether `error` is that of a full disk, or of a quota."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def disk_full(wanted: str, problem: str, folder: Path) -> DiskFull:
    """Return the error for a write below `folder` that found no space."""
    return DiskFull(
        wanted=wanted,
        found=f"{problem}; {_room(folder)}",
        fix=f"free disk space for {folder}, or give another folder by ENGINEFARM_WORK_DIR; then run it again",
    )


def require_space(wanted: str, needed: int, folder: Path) -> None:
    """Refuse to write what does not fit.

    Args:
        wanted: what, for people.
        needed: its size, bytes.
        folder: where to; it is there.

    Raises:
        DiskFull: it does not fit.
    """
    if needed > shutil.disk_usage(folder).free:
        raise disk_full(wanted, f"{_size(needed)} are needed", folder)


def has_room(folder: Path) -> bool:
    """Say whether a small file can be written in `folder`."""
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
        return f"{folder} cannot be looked at: {error}"
    return f"{_size(usage.free)} of {_size(usage.total)} are free in {folder}"


def _size(number: float) -> str:
    unit = 0
    while number >= _STEP and unit < len(_UNITS) - 1:
        number, unit = number / _STEP, unit + 1
    return f"{number:.{0 if unit == 0 else 1}f} {_UNITS[unit]}"
