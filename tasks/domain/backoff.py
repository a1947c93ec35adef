"""Backoff: pauses between the attempts of a retry, which grow up to a limit."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses before the next attempts, in seconds. Each is twice as long as the previous one.

    Attributes:
        first: the first pause.
        longest: the upper limit of a pause.
        reset_after: an attempt that lasted at least this long resets the backoff to the first pause.
        jitter: the largest random share taken off each pause, so that clients do not retry all at once.
    """

    first: float
    longest: float
    reset_after: float = math.inf
    jitter: float = 0.0

    def __iter__(self) -> Pauses:
        """Return the pauses of one retry; they never end."""
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
        """Start again with the first pause."""
        self._next = self._backoff.first

    def attempt_lasted(self, seconds: float) -> None:
        """Start again with the first pause if the last attempt lasted long enough."""
        if seconds >= self._backoff.reset_after:
            self.reset()
