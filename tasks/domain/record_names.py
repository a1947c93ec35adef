"""Short names of stored records, like git's of commits: the first digits of the digest in the key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import takewhile

FEWEST_DIGITS = 7
"""The least number of digits of a short name."""

_SHOWN_DIGITS = 8
_KEY = re.compile(r"[^/]+/(?P<release>[^/]+/(?P<version>[^/]+))/(?:.*[-/])?(?P<digits>[0-9a-f]{12,64})\.json")
_NAME = re.compile(rf"(?:(?P<release>(?:[^/]+/)?[^/]+)/)?(?P<digits>[0-9a-f]{{{FEWEST_DIGITS},64}})")


def is_short_name(text: str) -> bool:
    """Return whether `text` has the form of a short name: `[[MODEL/]VERSION/]DIGITS`."""
    return _NAME.fullmatch(text) is not None


def release_named(name: str) -> str:
    """Return the `MODEL/VERSION` at the start of the short name `name`; empty if there is none."""
    match = _NAME.fullmatch(name)
    release = (match["release"] or "") if match else ""
    return release if "/" in release else ""


def keys_named(name: str, keys: Iterable[str]) -> list[str]:
    """Return those of `keys` that match the short name `name`.

    A name may also have more digits than a key has, so that a whole build key names its engine.
    """
    wanted = _NAME.fullmatch(name)
    if wanted is None:
        return []
    digits, release = wanted["digits"], wanted["release"]
    return [
        key
        for key in keys
        if (match := _KEY.fullmatch(key))
        and release in {None, match["release"], match["version"]}
        and (match["digits"].startswith(digits) or digits.startswith(match["digits"]))
    ]


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return a short name for each of `keys` that matches no other of them.

    A name has eight digits, or more if needed. The same bytes published twice make two records with the same
    digest: their names start with the version, or with model and version. A key of another form is its own
    name.
    """
    names = {key: key for key in keys}
    matches = {key: match for key in names if (match := _KEY.fullmatch(key))}
    names |= _prefixes({key: match["digits"] for key, match in matches.items()})
    for part in ("version", "release"):
        groups: dict[str, dict[str, str]] = {}
        for key, match in matches.items():
            groups.setdefault(match[part], {})[key] = match["digits"]
        for group, digits in groups.items():
            if any(names[key] == key for key in digits):
                prefixes = _prefixes(digits)
                names |= {key: f"{group}/{prefixes[key]}" for key in prefixes if names[key] == key}
    return names


def _prefixes(digits: dict[str, str]) -> dict[str, str]:
    """Return the shortest unique prefix of each key's digits; keys with equal digits are left out."""
    ordered = sorted(digits, key=lambda key: digits[key])
    prefixes = {}
    for before, key, after in zip([None, *ordered], ordered, [*ordered[1:], None], strict=False):
        neighbours = [digits[other] for other in (before, after) if other is not None]
        length = max((_shared(digits[key], other) + 1 for other in neighbours), default=0)
        if length <= len(digits[key]):
            prefixes[key] = digits[key][: max(_SHOWN_DIGITS, length)]
    return prefixes


def _shared(first: str, second: str) -> int:
    """Return the length of the common prefix."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
