"""What a child leaves where the farm reads it: files and folders, and no way out of their folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tasks.children.entries import entries_below
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
    for entry in entries_below(root, but=but):
        name = printable_name(os.path.relpath(entry.path, root))
        if entry.is_symlink():
            if _leads_out(entry.path, root):
                yield f"{name}, a link to {printable_name(str(Path(entry.path).readlink()))}"
        elif not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
            yield f"{name}, no plain file"


def _leads_out(link: str, root: str) -> bool:
    return os.path.commonpath((root, os.path.realpath(link))) != root
