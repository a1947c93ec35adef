"""The cache of a host: plans under their digests, shared by its processes.

A plan appears in the cache after its size and digest have been checked. Several processes that ask for it
download it once. What a process has asked for stays at least until the process ends or releases it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.children.disk import disk_full, is_no_space, require_space
from tasks.consumer.layout import Slot
from tasks.consumer.locks import is_at, lock, locked
from tasks.consumer.pins import Pins
from tasks.consumer.room import make_room
from tasks.domain.attestation import PLAN_FILE, RECORD_FILE, SIGNATURE_FILE
from tasks.domain.digest import BlobRef, blob_ref
from tasks.domain.errors import RequestInvalid
from tasks.store.ranges import PartFile
from tasks.store.transfer import file_ref

Download = Callable[[PartFile], None]
"""Writes the bytes of a part file, and returns only if they have its digest."""

DEFAULT_BOUND = 64 << 30
"""The default bound of a cache in bytes."""

_UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}
_uses: dict[Path, int] = {}
_USES_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A cache.

    Attributes:
        folder: its folder.
        most_bytes: its bound.
    """

    folder: Path
    most_bytes: int = DEFAULT_BOUND

    @classmethod
    def from_environment(cls) -> Cache:
        """Return the cache at ENGINEFARM_CACHE, with the bound ENGINEFARM_CACHE_SIZE (`20G`).

        Raises:
            RequestInvalid: the bound is not a size.
        """
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = os.environ.get("ENGINEFARM_CACHE") or Path(home) / "enginefarm"
        size = os.environ.get("ENGINEFARM_CACHE_SIZE")
        return cls(folder=Path(folder), most_bytes=parse_size(size) if size else DEFAULT_BOUND)

    @property
    def pins(self) -> Pins:
        """What stays whatever the bound."""
        return Pins(folder=self.folder / "pins")

    def engine(self, plan: BlobRef, files: Mapping[str, bytes], download: Download) -> Path:
        """Return the path of a plan that has `files` beside it, and keep it for this process.

        Args:
            plan: the plan's digest and size.
            files: the record, under `RECORD_FILE`, and other small files, by name.
            download: gets the plan if the cache does not have it.

        Raises:
            DiskFull: there is no space for it.
            RequestInvalid: this user may not write to the cache.
            FarmError: as `download`.
        """
        slot = Slot(cache=self.folder, sha256=plan.sha256)
        with self._errors(f"to keep an engine in {self.folder}"):
            self._make_folders()
            _use(slot)
            folder = slot.folder / _digest_of(files)
            if not (folder.is_dir() and slot.is_unchanged(plan.size)):
                with locked(slot.get_lock):
                    self._fill(slot, plan.size, download)
                    _link(slot, folder, files)
                    slot.note_checked()
            return folder / PLAN_FILE

    def has(self, plan: BlobRef) -> bool:
        """Return whether the cache has the plan, unchanged since it was checked."""
        return Slot(cache=self.folder, sha256=plan.sha256).is_unchanged(plan.size)

    def record(self, plan: BlobRef, record: BlobRef) -> bytes | None:
        """Return the record of a plan if the cache has it."""
        for folder in Slot(cache=self.folder, sha256=plan.sha256).folders():
            with suppress(FileNotFoundError):  # removed meanwhile
                data = (folder / RECORD_FILE).read_bytes()
                if blob_ref(data) == record:
                    return data
        return None

    def signatures(self, plan: BlobRef, record: BlobRef) -> Iterator[bytes]:
        """Yield the signatures of an engine that the cache has, trusted or not."""
        for folder in Slot(cache=self.folder, sha256=plan.sha256).folders():
            with suppress(FileNotFoundError):
                if blob_ref((folder / RECORD_FILE).read_bytes()) == record:
                    yield (folder / SIGNATURE_FILE).read_bytes()

    def records(self) -> Iterator[bytes]:
        """Yield the record of each engine in the cache."""
        for path in sorted(self.folder.glob(f"plans/*/*/{RECORD_FILE}")):
            with suppress(FileNotFoundError):  # removed meanwhile
                yield path.read_bytes()

    def _make_folders(self) -> None:
        for name in ("plans", "parts", "locks"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def _fill(self, slot: Slot, size: int, download: Download) -> None:
        """Download the plan, unless the cache has it; its name appears after its digest was checked."""
        if slot.plan.exists():
            if slot.is_unchanged(size) or file_ref(slot.plan) == BlobRef(sha256=slot.sha256, size=size):
                return
            shutil.rmtree(slot.folder)  # somebody changed it, or the disk did
        part = slot.part(size)
        make_room(self.folder, self.most_bytes, needed=size, keep=slot.sha256)
        if not part.path.exists():
            require_space(f"to download a plan of {size} bytes", size, self.folder)
        download(part)
        part.path.chmod(0o444)
        slot.folder.mkdir(exist_ok=True)
        part.path.rename(slot.plan)

    @contextmanager
    def _errors(self, wanted: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise RequestInvalid(
                wanted=wanted, found=str(error), fix="set ENGINEFARM_CACHE to a folder that you may write to"
            ) from error
        except OSError as error:
            if not is_no_space(error):
                raise
            raise disk_full(wanted, str(error), self.folder) from error


def release_plan(plan: Path) -> None:
    """Let go of a plan that `Cache.engine` returned, so that its cache may remove it."""
    slot = Slot(cache=plan.parents[3], sha256=plan.parents[1].name)
    with _USES_LOCK:
        descriptor = _uses.pop(slot.use_lock, None)
        if descriptor is not None:
            os.close(descriptor)


def parse_size(text: str) -> int:
    """Return a number of bytes such as `500M` or `20G`.

    Raises:
        RequestInvalid: the text is no size.
    """
    number, unit = text.strip().upper().removesuffix("B").removesuffix("I"), 0
    if number[-1:] in _UNITS:
        number, unit = number[:-1], _UNITS[number[-1]]
    if not number.isdecimal():
        raise RequestInvalid(
            wanted="a size such as 500M or 20G", found=repr(text), fix="correct ENGINEFARM_CACHE_SIZE"
        )
    return int(number) << unit


def _use(slot: Slot) -> None:
    """Share the lock of a plan until this process ends or releases it; note when it was used."""
    with _USES_LOCK:
        descriptor = _uses.get(slot.use_lock)
        if descriptor is not None and not is_at(slot.use_lock, descriptor):  # somebody removed the cache
            os.close(_uses.pop(slot.use_lock))
        if slot.use_lock not in _uses:
            descriptor = lock(slot.use_lock, shared=True)
            if descriptor is not None:
                _uses[slot.use_lock] = descriptor
    with suppress(OSError):  # another user's file
        os.utime(slot.use_lock)


def _digest_of(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def _link(slot: Slot, folder: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder with the plan and `files`; it appears complete."""
    if folder.is_dir():
        return
    part = slot.folder / f".{folder.name}"  # whoever holds the lock of the download is alone here
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for name, data in files.items():
        (part / name).write_bytes(data)
    (part / PLAN_FILE).hardlink_to(slot.plan)
    part.rename(folder)
