"""Resolves without a network: among the engines in the cache, and by what channels said last."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from tasks.consumer.cache import Cache
from tasks.domain.candidate import Candidate, CandidateError, candidate_of_record
from tasks.domain.channel import Channel, ChannelError, channel_from_document, is_channel_name
from tasks.domain.errors import NotStored
from tasks.domain.host import Host, Wanted
from tasks.domain.resolution import Resolution, resolve

_SHOWN = 20


def remember_channel(cache: Cache, store: str, channel: Channel) -> None:
    """Keep what a channel of `store` says, for hosts that lose their network. A cache may be read-only."""
    path = _path(cache, store, channel.model, channel.name)
    text = json.dumps(channel.to_document(), ensure_ascii=False)
    with suppress(OSError):
        if path.exists() and path.read_text("utf-8") == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_text(text, "utf-8")
        part.replace(path)


def offline_resolution(cache: Cache, store: str, wanted: Wanted, host: Host) -> Resolution:
    """Return the engine for `host` among those in the cache, or why there is none.

    Raises:
        NotStored: the cache does not know the channel, or has no engine of what is wanted.
    """
    everything = cached(cache)
    if wanted.channel is None:
        engines = [
            each for each in everything if (each.model, each.version) == (wanted.model, wanted.version)
        ]
    else:
        channel = remembered_channel(cache, store, wanted.model, wanted.channel)
        engines = [] if channel is None else [each for each in everything if channel.move.has(each)]
    if not engines:
        raise NotStored(
            wanted=f"{wanted} in the cache {cache.folder}, without a network",
            found="\n".join(["the engines", *_lines(everything)]) if everything else "an empty cache",
            fix="fetch it with a network once, or unpack a bundle into the cache",
        )
    return resolve(host, wanted, engines)


def cached(cache: Cache) -> list[Candidate]:
    """Return the engines whose plans are in the cache."""
    engines = []
    for data in cache.records():
        with suppress(CandidateError):  # of a newer version
            engines.append(candidate_of_record(data))
    return [engine for engine in engines if cache.has(engine.plan)]


def _lines(engines: list[Candidate]) -> list[str]:
    lines = [f"{engine.model} {engine.version}, {engine.device} / {engine.target.version}, {engine.precision}"
             for engine in engines]  # fmt: skip
    hidden = len(lines) - _SHOWN
    return [*lines[:_SHOWN], *([f"and {hidden} more"] if hidden > 0 else [])]


def _path(cache: Cache, store: str, model: str, name: str) -> Path:
    digest = hashlib.sha256(store.rstrip("/").encode()).hexdigest()[:16]
    return cache.folder / "channels" / digest / model / f"{name}.json"


def remembered_channel(cache: Cache, store: str, model: str, name: str) -> Channel | None:
    """Return what a channel of `store` said last; None if the cache does not know it."""
    if not (is_channel_name(model) and is_channel_name(name)):
        return None
    try:
        document = json.loads(_path(cache, store, model, name).read_bytes())
        return channel_from_document(document, model=model, name=name)
    except (OSError, ValueError, ChannelError):
        return None
