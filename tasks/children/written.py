"""How much a child writes: what it prints, and the files of its run. A disk is shared with other runs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tasks.children.entries import entries_below
from tasks.domain.errors import ChildFailed

_MOST_PRINTED = 64 << 20
_EVERY = 20  # polls: the files of a run are listed each time
_BLOCK = 512  # bytes, the unit of `st_blocks`


class WriteWatch:
    """Checks, at each poll, what the child of one step has written.

    Attributes:
        step: name of the step.
        output: descriptor of the file that it prints to: by its path, the child could take it away.
        folder: the folder of the run, below which it writes.
        most_mib: how much may lie there, in MiB.
    """

    def __init__(self, step: str, *, output: int, folder: Path, most_mib: int) -> None:
        self.step, self.output, self.folder, self.most_mib = step, output, folder, most_mib
        self._polls = 0

    def check(self) -> None:
        """Check it.

        Raises:
            ChildFailed: it printed or wrote too much.
        """
        printed = os.fstat(self.output).st_size
        if printed > _MOST_PRINTED:
            raise ChildFailed(
                wanted=f"step {self.step} to print at most {_MOST_PRINTED >> 20} MiB",
                found=f"{printed >> 20} MiB of output; it has been ended",
                fix="take operations that print out of the model (tf.print, tf.raw_ops.Print)",
            )
        self._polls += 1
        if self._polls % _EVERY == 0 and (written := _occupied_mib(self.folder)) > self.most_mib:
            raise ChildFailed(
                wanted=f"at most {self.most_mib} MiB of files in the run's folder",
                found=f"{written} MiB at step {self.step}, which has been ended",
                fix="raise ENGINEFARM_CHILD_DISK_MIB if the model is that large",
            )


def _occupied_mib(folder: Path) -> int:
    """Return what the files below `folder` take on the disk; a file with several names counts once."""
    blocks: dict[tuple[int, int], int] = {}
    # The child removes files meanwhile, or hides them, which `leftovers` finds.
    for entry in entries_below(os.fspath(folder), skip_errors=True):
        with suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            blocks[status.st_dev, status.st_ino] = status.st_blocks
    return sum(blocks.values()) * _BLOCK >> 20
