"""Backoff: pauses between the attempts of a retry, which grow up to a limit."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the next attempt, in seconds: each pause is twice the one before.

    Attributes:
        first: the first pause.
        longest: no pause is longer.
        reset_after: after an attempt that lasted at least this long, the next pause is the first again.
        jitter: the share of each pause that chance may take off, so that not everybody comes back at once.
    """

    first: float
    longest: float
    reset_after: float = math.inf
    jitter: float = 0.0

    def __iter__(self) -> Pauses:
        """Return the pauses of one retry, without an end."""
        return Pauses(self)


class Pauses(Iterator[float]):
    """The pauses of one retry."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._next = backoff.first

    def __next__(self) -> float:
        pause = self._next
        self._next = min(2 * pause, self._backoff.longest)
        return pause * (1.0 - self._backoff.jitter * random.random())  # noqa: S311 (spreads load)

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._next = self._backoff.first

    def attempt_lasted(self, seconds: float) -> None:
        """Begin with the first pause again if the last attempt went on for long enough."""
        if seconds >= self._backoff.reset_after:
            self.reset()
