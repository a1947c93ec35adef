"""Removes what a child left, however deep its folders are and whatever it forbade."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER_ONLY = 0o700


def remove_tree(folder: Path) -> None:
    """Remove `folder` and all below it as far as possible; no error is raised.

    `shutil.rmtree` calls itself for each level before Python 3.13: a thousand nested folders end it with a
    RecursionError, and a path of more than 4,096 bytes cannot be opened at all. Here no folder is ever deeper
    than two: what is deeper is moved up before it is emptied. Links are removed, never followed.
    """
    with contextlib.suppress(OSError):
        with _opened(folder, None) as root:
            _empty(root)
        folder.rmdir()


def _empty(root: int) -> None:
    """Empty the folder with descriptor `root`."""
    moved = 0
    waiting = _unlink_files(root)
    while waiting:
        name = waiting.pop()
        with contextlib.suppress(OSError):
            with _opened(name, root) as folder:
                for inner in _unlink_files(folder):
                    moved += 1
                    new_name = f"{os.getpid()}-{moved}-removed"
                    with _opened(inner, folder):  # moving a folder writes into it
                        pass
                    os.rename(inner, new_name, src_dir_fd=folder, dst_dir_fd=root)
                    waiting.append(new_name)
            os.rmdir(name, dir_fd=root)


def _unlink_files(folder: int) -> list[str]:
    """Remove all but folders from the folder with this descriptor; return the names of its folders."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
                continue
            with contextlib.suppress(OSError):
                os.unlink(entry.name, dir_fd=folder)
    return folders


@contextmanager
def _opened(name: str | Path, beside: int | None) -> Iterator[int]:
    """Open the folder `name` and let its owner empty it; it may be in the folder with descriptor `beside`."""
    place = os.open(name, os.O_PATH | _FOLDER, dir_fd=beside)
    try:
        os.chmod(f"/proc/self/fd/{place}", _OWNER_ONLY)  # noqa: PTH101 (of what was opened, not of its name)
        descriptor = os.open(".", _FOLDER, dir_fd=place)
    finally:
        os.close(place)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
