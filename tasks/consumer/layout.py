"""Where things are in a cache.

plans/SHA256/plan                       the bytes of a plan, checked
plans/SHA256/checked                    what the file system said of them when they were checked
plans/SHA256/DIGEST/engine.plan         the same file, with its record beside it
plans/SHA256/DIGEST/engine.plan.json    the record, and whatever else `fetch` puts there
parts/SHA256.part, .note                a download in progress, or one that was killed
locks/SHA256.use, .get, locks/room      who uses a plan, who downloads it, who makes room
pins/NAME.json                          what must stay
channels/...                            what channels said last, for hosts without a network
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.domain.attestation import PLAN_FILE
from tasks.domain.digest import BlobRef
from tasks.store.ranges import PartFile

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The place of a plan in a cache.

    Attributes:
        cache: the cache's folder.
        sha256: digest of the plan.
    """

    cache: Path
    sha256: str

    @property
    def folder(self) -> Path:
        """The folder with everything of the plan."""
        return self.cache / "plans" / self.sha256

    @property
    def plan(self) -> Path:
        """The file with its bytes."""
        return self.folder / "plan"

    @property
    def use_lock(self) -> Path:
        """Shared by those who use the plan; who removes it holds it alone."""
        return self.cache / "locks" / f"{self.sha256}.use"

    @property
    def get_lock(self) -> Path:
        """Held alone by who downloads or repairs the plan."""
        return self.cache / "locks" / f"{self.sha256}.get"

    def part(self, size: int) -> PartFile:
        """Return the download of the plan, which has `size` bytes."""
        path = self.cache / "parts" / f"{self.sha256}.part"
        return PartFile(path=path, ref=BlobRef(sha256=self.sha256, size=size))

    def folders(self) -> Iterator[Path]:
        """Yield the folders with the plan and a record."""
        if self.folder.is_dir():
            yield from sorted(path for path in self.folder.iterdir() if _SHA256.fullmatch(path.name))

    def size(self) -> int:
        """Return how many bytes the plan and its records take; 0 if there are none."""
        files = [path for folder in self.folders() for path in folder.iterdir() if path.name != PLAN_FILE]
        return sum(map(_size, [self.plan, *files]))

    def is_unchanged(self, size: int) -> bool:
        """Return whether nobody has changed the plan since it was checked. The bytes are not read.

        Every write changes the time of the last change of the file's metadata.
        """
        try:
            checked = json.loads((self.folder / "checked").read_text("ascii"))
            return bool(checked == _state(self.plan) and checked["size"] == size)
        except (OSError, ValueError, TypeError, KeyError):
            return False

    def note_checked(self) -> None:
        """Remember that the plan has just been checked."""
        part = self.folder / f".checked.{os.getpid()}"
        part.write_text(json.dumps(_state(self.plan)), "ascii")
        part.replace(self.folder / "checked")


def slots(cache: Path) -> Iterator[Slot]:
    """Yield the slot of each plan in the cache, also of those that are being downloaded."""
    names = {path.name for path in _in(cache / "plans")} | {path.stem for path in _in(cache / "parts")}
    yield from (Slot(cache=cache, sha256=name) for name in sorted(names) if _SHA256.fullmatch(name))


def _in(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _state(path: Path) -> dict[str, int]:
    state = path.stat()
    return {
        "device": state.st_dev,
        "inode": state.st_ino,
        "size": state.st_size,
        "modified": state.st_mtime_ns,
        "changed": state.st_ctime_ns,
    }
