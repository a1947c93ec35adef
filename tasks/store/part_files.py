"""Files that are being downloaded, beside the place where they will be."""

from __future__ import annotations

import glob
import os
import socket
import uuid
from contextlib import suppress
from pathlib import Path

_SUFFIX = ".part"
_LONGEST = 255  # bytes of a file name


def part_of(path: Path) -> Path:
    """Return a name for the download of `path`, and remove what dead processes of this host left of it.

    The name has the host and the process: others may share the folder and download the same file.
    """
    prefix = f".{path.name}.{socket.gethostname()}."
    for left in path.parent.glob(f"{glob.escape(prefix)}*{_SUFFIX}"):
        process = left.name.removeprefix(prefix).partition(".")[0]
        if process.isdecimal() and not Path(f"/proc/{process}").exists():
            with suppress(OSError):
                left.unlink()
    name = f"{prefix}{os.getpid()}.{uuid.uuid4().hex}{_SUFFIX}"
    if len(os.fsencode(name)) > _LONGEST:
        name = f".{uuid.uuid4().hex}{_SUFFIX}"
    return path.with_name(name)
