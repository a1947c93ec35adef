"""Findings: the lines of `enginefarm doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The result of a check."""

    FINE = "fine"
    ABSENT = "absent"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was checked, the result, and how to fix it if it is not fine.

    `absent` is something that not every use needs; `broken` is something that was asked for.
    """

    subject: str
    level: Level
    text: str
    fix: str = ""
