"""Channels: names such as `production` that point to a release of a model, with the history of their moves.

The pointer and the index of its engines are one document, so that a consumer needs one read. The pointer is
what people decided; the index can always be made from the records again. Runs on consumers: Python 3.10, the
standard library alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tasks.domain.candidate import Candidate, CandidateError, candidate_from_document
from tasks.domain.digest import canonical_json
from tasks.domain.gpu_table import device_slug
from tasks.domain.target import EngineTarget

ROOT = "channels/"
CHANNEL_SCHEMA = "enginefarm/channel/1"
MOVE_SCHEMA = "enginefarm/channel-move/1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DIGITS = 8
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


_KNOWN = frozenset(
    (
        "schema", "model", "channel", "number", "release", "targets", "since", "by", "why", "lacking",
        "former", "engines", "signature",
    )
)  # fmt: skip


class ChannelError(ValueError):
    """A document is not that of a channel or of a move."""

    newer: bool = False
    """Whether a newer version of enginefarm wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRelease:
    """A release that a channel points to.

    Attributes:
        model: name of the model.
        version: name of the release.
        url: its place.
        digest: digest of the model's bytes: another model under the same name is another release.
    """

    model: str
    version: str
    url: str
    digest: str

    def to_document(self) -> dict[str, str]:
        """Return it JSON-ready."""
        return {"model": self.model, "version": self.version, "url": self.url, "digest": self.digest}

    def has(self, candidate: Candidate) -> bool:
        """Return whether `candidate` was made from this release."""
        ref = candidate.model, candidate.version, candidate.release, candidate.model_digest
        return ref == (self.model, self.version, self.url, self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A decision of a person: from here on, the channel points to a release.

    Attributes:
        number: 1 for the first move of the channel; no number is used twice.
        release: what it points to.
        targets: other releases for some targets, by `target_name`, while a campaign is under way.
        at: when, UTC, ISO 8601.
        by: who.
        why: why; empty if nobody said.
        lacking: what the policy of the channel demands and the release lacks: `why` overrode it.
        former: version that it pointed to before; None for the first move.
        unknown: keys of a newer version, which are kept.
    """

    number: int
    release: ChannelRelease
    targets: Mapping[str, ChannelRelease] = field(default_factory=dict)
    at: str
    by: str
    why: str = ""
    lacking: tuple[str, ...] = ()
    former: str | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def release_for(self, target: EngineTarget) -> ChannelRelease:
        """Return the release of engines for `target`."""
        return self.targets.get(target_name(target), self.release)

    @property
    def releases(self) -> tuple[ChannelRelease, ...]:
        """Every release that it points to, each once."""
        return tuple(dict.fromkeys((self.release, *self.targets.values())))

    def has(self, candidate: Candidate) -> bool:
        """Return whether the channel offers `candidate` since this move."""
        return self.release_for(candidate.target).has(candidate)

    def to_document(self) -> dict[str, Any]:
        """Return its parts JSON-ready."""
        return {
            **self.unknown,
            "number": self.number,
            "release": self.release.to_document(),
            "targets": {name: release.to_document() for name, release in sorted(self.targets.items())},
            "since": self.at,
            "by": self.by,
            "why": self.why,
            "lacking": list(self.lacking),
            "former": self.former,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel as it stands.

    Attributes:
        model: name of the model.
        name: name of the channel.
        move: the last move.
        engines: the index: engines of its releases, as far as the index has them.
        signature: what signs `pointer_bytes`; None if nothing does.
        unreadable: entries of the index that this version cannot read; they are kept.
    """

    model: str
    name: str
    move: Move
    engines: tuple[Candidate, ...] = ()
    signature: Mapping[str, Any] | None = None
    unreadable: tuple[Mapping[str, Any], ...] = ()

    @property
    def key(self) -> str:
        """The key of its document."""
        return channel_key(self.model, self.name)

    @property
    def pointer_bytes(self) -> bytes:
        """What a signature covers: everything but the index, whose entries have signatures of their own."""
        return canonical_json(_move_document(CHANNEL_SCHEMA, self.model, self.name, self.move))

    def with_engines(self, engines: Iterable[Candidate]) -> Channel:
        """Return it with the index of those `engines` that are the channel's; the newest of each form."""
        newest: dict[tuple[object, ...], Candidate] = {}
        for candidate in sorted(filter(self.move.has, engines), key=lambda each: (each.created, each.key)):
            newest[_form(candidate)] = candidate
        ordered = sorted(newest.values(), key=lambda each: each.key)
        return replace(self, engines=tuple(ordered))

    def to_document(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {
            **_move_document(CHANNEL_SCHEMA, self.model, self.name, self.move),
            "engines": [*(candidate.to_document() for candidate in self.engines), *self.unreadable],
            "signature": None if self.signature is None else dict(self.signature),
        }


def _form(candidate: Candidate) -> tuple[object, ...]:
    """Return what two engines have in common of which a consumer would never take the older."""
    return (
        candidate.target,
        candidate.precision,
        candidate.version_compatible,
        candidate.lean_runtime,
        candidate.hardware,
        candidate.stripped,
        candidate.verdict,
    )


def _move_document(schema: str, model: str, channel: str, move: Move) -> dict[str, Any]:
    return {"schema": schema, "model": model, "channel": channel, **move.to_document()}


def move_document(model: str, channel: str, move: Move) -> dict[str, Any]:
    """Return the document of `move` in the channel's history."""
    return _move_document(MOVE_SCHEMA, model, channel, move)


def channel_from_document(document: Mapping[str, Any], *, model: str, name: str) -> Channel:
    """Parse what `Channel.to_document` returned.

    Raises:
        ChannelError: it is not the document of this channel.
    """
    move = move_from_document(document, model=model, name=name, schema=CHANNEL_SCHEMA)
    engines: list[Candidate] = []
    unreadable: list[Mapping[str, Any]] = []
    for entry in _entries(document):
        try:
            engines.append(candidate_from_document(entry))
        except CandidateError:  # of a newer version: the index is only shorter for that
            unreadable.append(entry)
    channel = Channel(
        model=model,
        name=name,
        move=move,
        signature=document.get("signature"),
        unreadable=tuple(unreadable),
    )
    return channel.with_engines(engines)


def _entries(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = document.get("engines")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ChannelError("an index is a list of engines")
    return entries


def move_from_document(
    document: Mapping[str, Any], *, model: str, name: str, schema: str = MOVE_SCHEMA
) -> Move:
    """Parse the part of a document that is a move.

    Raises:
        ChannelError: it is none, or one of another channel.
    """
    _check_schema(document, schema)
    try:
        stated = tuple(document[part] for part in ("schema", "model", "channel"))
        if stated != (schema, model, name):
            raise ValueError(f"a document of {stated} instead of {(schema, model, name)}")
        return Move(
            number=_number(document["number"]),
            release=_release(document["release"]),
            targets={str(key): _release(value) for key, value in document["targets"].items()},
            at=str(document["since"]),
            by=str(document["by"]),
            why=str(document["why"]),
            lacking=tuple(map(str, document.get("lacking", ()))),
            former=document.get("former"),
            unknown={key: document[key] for key in document if key not in _KNOWN},
        )
    except _UNREADABLE as error:
        raise ChannelError(f"{type(error).__name__}: {error}") from error


def _check_schema(document: Any, wanted: str) -> None:
    """Refuse the document of a newer version, which must not be replaced."""
    name, _, major = wanted.rpartition("/")
    stated = document.get("schema") if isinstance(document, dict) else None
    match = re.fullmatch(rf"{re.escape(name)}/([0-9]{{1,9}})", stated) if isinstance(stated, str) else None
    if match is not None and int(match[1]) > int(major):
        error = ChannelError(f"schema {stated}, of a newer version of enginefarm")
        error.newer = True
        raise error


def _release(document: Mapping[str, Any]) -> ChannelRelease:
    parts = {name: document[name] for name in ("model", "version", "url", "digest")}
    if not all(isinstance(part, str) for part in parts.values()):
        raise TypeError("a release is described by texts")
    return ChannelRelease(**parts)


def _number(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{value!r} is not the number of a move")
    return value


def is_channel_name(text: str) -> bool:
    """Return whether a model or channel can be called `text`."""
    return _NAME.fullmatch(text) is not None


def target_name(target: EngineTarget) -> str:
    """Return how a channel names a target: `l4/10.16.1.11`."""
    return f"{device_slug(target)}/{target.version}"


def channel_key(model: str, name: str) -> str:
    """Return the key of a channel's document, relative to the store's root."""
    return f"{ROOT}{model}/{name}.json"


def history_root(model: str, name: str) -> str:
    """Return what the keys of a channel's moves begin with."""
    return f"{ROOT}{model}/{name}/history/"


def move_key(model: str, name: str, number: int) -> str:
    """Return the key of a move: an order of keys is the order of moves."""
    return f"{history_root(model, name)}{number:0{_DIGITS}}.json"
