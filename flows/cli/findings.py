"""What an examination finds: a line of `enginefarm doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a line of the examination came out."""

    FINE = "fine"
    ABSENT = "absent"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, how it is, and what to do where it is not fine.

    `absent` is something that not every use needs; `broken` is something that was asked for.
    """

    subject: str
    level: Level
    text: str
    fix: str = ""
