"""What lies below a folder that children write, however deep: `os.walk` calls itself for each level."""

from __future__ import annotations

import os
from collections.abc import Iterator


def entries_below(root: str, *, but: str = "", skip_errors: bool = False) -> Iterator[os.DirEntry[str]]:
    """Yield all files, folders and links below `root`, and follow no link.

    Args:
        root: the folder.
        but: the path of a folder that is left out.
        skip_errors: whether to pass over folders that cannot be listed.

    Raises:
        OSError: a folder cannot be listed.
    """
    waiting = [root]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.path == but:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    yield entry
        except OSError:
            if not skip_errors:
                raise
