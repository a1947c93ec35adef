"""The timing cache of one build: earlier measurements, and those that the build adds."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.domain.errors import DigestMismatch, FarmError, RequestInvalid, TimingCacheMiss
from tasks.tensorrt.inside.checked import checked_bytes
from tasks.tensorrt.inside.families.registry import Family
from tasks.tensorrt.inside.messages import Messages
from tasks.tensorrt.inside.options import Pinning
from tasks.tensorrt.inside.refusals import build_refusal

_MISSED = re.compile(r"TIMING_CACHE_MISS|errorOnMiss")


@dataclass
class Timing:
    """The cache that a build works with.

    Attributes:
        cache: TensorRT's own object, kept alive until the build ends; None if it has none.
        used: whether it had entries when the build started.
        into: the file for its contents after the build; None: no file is written.
        notes: why a given cache was not used.
        pinning: how this family repeats a build; None if this build does not.
        pinned: the kernels that this build must take, by what they compute; empty if it may choose.
    """

    cache: Any = None
    used: bool = False
    into: str | None = None
    notes: list[str] = field(default_factory=list)
    pinning: Pinning | None = None
    pinned: dict[str, int] = field(default_factory=dict)

    def refusal(self, messages: Messages, family: Family, network: Any) -> FarmError:
        """Return the error for a build of `network` without a plan."""
        if self.pinned and any(_MISSED.search(text) for text in messages.errors):
            return _miss(messages.said())
        return build_refusal(messages, needs_gpu=family.NEEDS_GPU, network=network)

    def document(self) -> dict[str, Any]:
        """Write the cache; return `used`, `notes`, and as `left` its `sha256` and `size`, JSON-ready.

        Raises:
            TimingCacheMiss: a build that must repeat another one took other kernels.
        """
        if self.pinning is not None and self.pinned:
            self._check_tactics(self.pinning.tactics(self.cache))
        written = None
        if self.into is not None:
            try:
                written = write_cache(self.cache, Path(self.into))
            except (OSError, RuntimeError, TypeError) as error:
                self.notes.append(f"the build's timings could not be written: {error}")
        return {"used": self.used, "notes": self.notes, "left": written}

    def _check_tactics(self, tactics: dict[str, int]) -> None:
        # NVIDIA's own builds with TensorRT 11.0 added entries despite ERROR_ON_TIMING_CACHE_MISS:
        # https://github.com/NVIDIA/TensorRT-Model-Connect/pull/449
        added = len(tactics.keys() - self.pinned.keys())
        changed = sum(tactics.get(key, tactic) != tactic for key, tactic in self.pinned.items())
        if added or changed:
            raise _miss(f"{added} added and {changed} changed")


def attach_timing(trt: Any, config: Any, family: Family, request: dict[str, Any] | None) -> Timing:
    """Give `config` the cache that `request` names, or an empty one.

    Args:
        trt: TensorRT.
        config: the build's configuration.
        family: the family of the TensorRT.
        request: `mode` (`shared` or `reproducible`), `cache` (`path`, `sha256` and `size`, or None) and
            `into`; None builds without any cache.

    Returns:
        The cache for use after the build. A shared cache that cannot be used is left out, with a note.

    Raises:
        RequestInvalid: a reproducible build is requested, but this TensorRT has none.
        DigestMismatch: the cache that a reproducible build must use is damaged.
        TimingCacheMiss: TensorRT cannot read it.
    """
    if request is None:
        return Timing()
    if request["mode"] == "shared":
        return _shared(config, request)
    pinning = pinning_of(family, trt.__version__)
    timing = Timing(into=request["into"], pinning=pinning)
    given = request["cache"]
    timing.cache = empty_cache(config) if given is None else read_cache(config, given)
    pinning.pin(trt, config, replay=given is not None)
    if given is not None:
        timing.used, timing.into = True, None  # it must not change
        timing.pinned = pinning.tactics(timing.cache) if timing.cache is not None else {}
    if (given is not None and not timing.pinned) or not _set(config, timing.cache):
        raise _miss("that TensorRT finds no timings in it")
    return timing


def _shared(config: Any, request: dict[str, Any]) -> Timing:
    timing = Timing(into=request["into"])
    if request["cache"] is not None:
        try:
            timing.cache = read_cache(config, request["cache"])
            timing.used = timing.cache is not None and _set(config, timing.cache)
            reason = "TensorRT refuses it"
        except (DigestMismatch, OSError, RuntimeError, TypeError, ValueError) as error:
            reason = str(error)
        if not timing.used:
            timing.notes.append(f"the shared timing cache was dropped: {reason}")
    if not timing.used:
        timing.cache = empty_cache(config)
        _set(config, timing.cache)
    return timing


def _set(config: Any, cache: Any) -> bool:
    # A "mismatch" is one of the boards' UUIDs: TensorRT refuses the cache of another board of the same model.
    # The farm's key keeps GPU models apart, and TensorRT still refuses the cache of another TensorRT.
    return bool(config.set_timing_cache(cache, ignore_mismatch=True))


def empty_cache(config: Any) -> Any:
    """Return a cache without timings."""
    return config.create_timing_cache(b"")


def read_cache(config: Any, given: dict[str, Any]) -> Any:
    """Return the cache in the file that `given` names; None if TensorRT reads nothing from it.

    Raises:
        DigestMismatch: the file does not match its digest; TensorRT did not get it.
    """
    data = checked_bytes(
        Path(given["path"]), given["sha256"], given["size"],
        what="a timing cache", fix="remove it by `enginefarm timing drop`; the next build starts a new one",
    )  # fmt: skip
    cache = config.create_timing_cache(data)
    # TensorRT makes an empty cache of one that it cannot read; only its log says so.
    if cache is None or len(_bytes(cache)) <= len(_bytes(empty_cache(config))):
        return None
    return cache


def write_cache(cache: Any, path: Path) -> dict[str, Any]:
    """Write the contents of `cache`; return `sha256` and `size` of the bytes as TensorRT returned them."""
    data = _bytes(cache)
    path.write_bytes(data)
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _bytes(cache: Any) -> bytes:
    return bytes(memoryview(cache.serialize()))


def pinning_of(family: Family, version: str) -> Pinning:
    """Return how `family` repeats a build.

    Raises:
        RequestInvalid: it cannot.
    """
    if family.PINNING is None:
        raise RequestInvalid(
            wanted="a build whose timings all come from one cache (`timing: reproducible`)",
            found=f"TensorRT {version}, which has neither editable timing caches nor an error for what is "
            "not in one",
            fix="ask for `timing: shared`, or build with TensorRT 10 or later",
        )
    return family.PINNING


def _miss(problem: str) -> TimingCacheMiss:
    return TimingCacheMiss(
        wanted="every timing of this build from the cache that `timing_cache` names",
        found=problem,
        fix="name the cache of a build of the same model, precision and shapes on this GPU model; a build "
        "with `timing: reproducible` and no `timing_cache` makes one",
    )
