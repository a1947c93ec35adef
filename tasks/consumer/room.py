"""Keeps a cache within its bound: the least recently used plans go first, never what is pinned or in use."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.consumer.layout import Slot, slots
from tasks.consumer.locks import locked, locked_if_free
from tasks.consumer.pins import Pins

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A plan in the cache, or a download of it.

    Attributes:
        slot: its place.
        size: bytes on the disk, or what a download will have.
        used: when it was last used, in seconds since 1970.
        pinned: whether it stays whatever the bound.
    """

    slot: Slot
    size: int
    used: float
    pinned: bool


def contents(cache: Path) -> list[Held]:
    """Return everything in the cache, the least recently used first."""
    pinned = {pin.plan for pin in Pins(folder=cache / "pins")}
    everything = [
        Held(slot=slot, size=_size(slot), used=_used(slot), pinned=slot.sha256 in pinned)
        for slot in slots(cache)
    ]
    return sorted(everything, key=lambda held: held.used)


def make_room(cache: Path, most: int, *, needed: int = 0, keep: str | None = None) -> None:
    """Remove plans until the cache has at most `most` bytes with `needed` more.

    Args:
        cache: the cache's folder.
        most: the bound in bytes.
        needed: bytes that will come.
        keep: digest of a plan that stays, and whose download is not counted: it is what will come.
    """
    with locked(cache / "locks" / "room"):
        everything = [held for held in contents(cache) if held.slot.sha256 != keep]
        total = needed + sum(held.size for held in everything)
        for held in everything:
            if total <= most:
                return
            if not held.pinned and _remove(held.slot):
                total -= held.size
    if total > most:
        _LOG.warning("the cache %s has %d bytes, and may have %d: the rest is in use", cache, total, most)


def remove_all(cache: Path) -> list[Held]:
    """Remove what is neither pinned nor in use; return what was removed."""
    with locked(cache / "locks" / "room"):
        return [held for held in contents(cache) if not held.pinned and _remove(held.slot)]


def _remove(slot: Slot) -> bool:
    """Remove a plan and its download, unless somebody uses one of them."""
    with locked_if_free(slot.use_lock) as unused:
        if not unused:
            return False
        with locked_if_free(slot.get_lock) as idle:
            if not idle:
                return False
            _clear(slot)
            for path in (slot.get_lock, slot.use_lock):  # who waits for one notices that it is gone
                path.unlink()
    return True


def _clear(slot: Slot) -> None:
    slot.part(0).discard()
    if slot.folder.exists():
        # Half a folder must not look like a plan: it is moved out of the way first.
        leaving = slot.folder.with_name(f".{slot.sha256}.{os.getpid()}")
        slot.folder.rename(leaving)
        shutil.rmtree(leaving)


def _size(slot: Slot) -> int:
    return slot.size() + sum(path.stat().st_size for path in _existing(slot.part(0).path))


def _used(slot: Slot) -> float:
    """Return when a plan was last used. Each use touches its lock."""
    paths = (slot.use_lock, slot.part(0).note)
    return max((path.stat().st_mtime for path in _existing(*paths)), default=0.0)


def _existing(*paths: Path) -> Iterator[Path]:
    yield from (path for path in paths if path.exists())
