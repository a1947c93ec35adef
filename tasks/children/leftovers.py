"""What a child leaves where the farm reads it: files and folders, and no way out of their folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tasks.domain.errors import ModelRefused
from tasks.domain.printable import printable_name


def refuse_ways_out(folder: Path, step: str, *, but: Path) -> None:
    """Refuse links that lead out of `folder`, and whatever else is no plain file or folder below it.

    A model that has taken over its child could replace a result by a link to a file that it cannot read
    itself. The farm would upload that file, or let the next child read it.

    Args:
        folder: where children write.
        step: the step that a child is for, for people.
        but: a folder below it that the farm reads by other means.

    Raises:
        ModelRefused: there is one.
    """
    root = os.path.realpath(folder)
    try:
        left = next(_ways_out(root, os.path.realpath(but)), None)
    except OSError as error:
        left = f"a folder that cannot be listed: {error.strerror}"
    if left is not None:
        raise ModelRefused(
            wanted=f"files and folders in what children of the run left, at step {step}",
            found=left,
            fix="find out where the model comes from: it made its process write this. Nothing was uploaded",
        )


def _ways_out(root: str, but: str) -> Iterator[str]:
    for path, mode in _entries(root, but):
        name = printable_name(os.path.relpath(path, root))
        if not stat.S_ISLNK(mode):
            if not stat.S_ISREG(mode):
                yield f"{name}, no plain file"
        elif _leads_out(path, root):
            yield f"{name}, a link to {printable_name(str(Path(path).readlink()))}"


def _leads_out(link: str, root: str) -> bool:
    target = os.path.realpath(link)
    return os.path.commonpath((root, target)) != root


def _entries(root: str, but: str) -> Iterator[tuple[str, int]]:
    """Yield paths and modes of all but folders below `root`."""
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    yield entry.path, entry.stat(follow_symlinks=False).st_mode
                elif entry.path != but:
                    waiting.append(entry.path)
