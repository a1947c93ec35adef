"""Which keys a consumer trusts: one file, with the time for which each key is valid.

    {"schema": "enginefarm/trust/1",
     "keys": [{"name": "2026", "pem": "-----BEGIN PUBLIC KEY-----…", "for": ["engines", "channels"],
               "from": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}]}

A signature has no trusted time, so it counts as long as its key is valid *now*. To rotate keys, add the new
one, sign everything with it again, and let the old one expire. To revoke one, delete it from the file.
Runs on consumers: Python 3.10, the standard library alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.domain.text_enum import StrEnum

TRUST_SCHEMA = "enginefarm/trust/1"


class Purpose(StrEnum):
    """What a key may sign."""

    ENGINES = "engines"
    CHANNELS = "channels"
    TIMING = "timing"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedKey:
    """A public key.

    Attributes:
        name: for people.
        pem: the key, as PEM.
        since: from when it is valid.
        until: until when.
        purposes: what it may sign.
    """

    name: str
    pem: str
    since: datetime
    until: datetime
    purposes: frozenset[Purpose] = frozenset(Purpose)

    def why_not(self, purpose: Purpose, now: datetime) -> str:
        """Return why it does not count for `purpose` at this time; empty if it does."""
        if purpose not in self.purposes:
            return f"the key {self.name!r}, which is not trusted for {purpose}"
        if now < self.since:
            return f"the key {self.name!r}, which is valid from {self.since.isoformat()}"
        if now >= self.until:
            return f"the key {self.name!r}, which expired at {self.until.isoformat()}"
        return ""

    def to_document(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {
            "name": self.name,
            "pem": self.pem,
            "for": sorted(self.purposes),
            "from": self.since.isoformat(),
            "until": self.until.isoformat(),
        }


def trust_document(keys: tuple[TrustedKey, ...]) -> dict[str, Any]:
    """Return the document of a file of trusted keys."""
    return {"schema": TRUST_SCHEMA, "keys": [key.to_document() for key in keys]}


def trust_from_json(data: bytes) -> tuple[TrustedKey, ...]:
    """Parse a file of trusted keys. An unknown key is refused: it may be a limit that is not kept.

    Raises:
        ValueError: it is no such file; the text says why.
    """
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("schema") != TRUST_SCHEMA:
            raise ValueError(f"a document without the schema {TRUST_SCHEMA}")
        if document.keys() != {"schema", "keys"}:
            raise ValueError(f"the keys {sorted(document)}")
        keys = tuple(map(_trusted_key, document["keys"]))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if len({key.name for key in keys}) != len(keys):
        raise ValueError("two keys of one name")
    return keys


def _trusted_key(document: Mapping[str, Any]) -> TrustedKey:
    unknown = document.keys() - {"name", "pem", "for", "from", "until"}
    if unknown:
        raise ValueError(f"a key with {sorted(unknown)}")
    purposes = document.get("for", list(Purpose))
    if not isinstance(purposes, list):
        raise TypeError("`for` is not a list")
    return TrustedKey(
        name=_text(document["name"]),
        pem=_text(document["pem"]),
        since=_time(document["from"]),
        until=_time(document["until"]),
        purposes=frozenset(map(Purpose, purposes)),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{value!r} is not a text")
    return value


def _time(value: Any) -> datetime:
    time = datetime.fromisoformat(re.sub("Z$", "+00:00", _text(value)))  # Python 3.10 does not read Z
    if time.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    return time
