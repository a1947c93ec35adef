"""Which work goes first."""

from __future__ import annotations

from enum import StrEnum


class Priority(StrEnum):
    """The work queue that a run waits in; the queues of every pool have these names.

    An agent that is free takes from the first queue that has something; nothing that runs is stopped.
    """

    PRODUCTION = "production"
    DEFAULT = "default"
    NIGHTLY = "nightly"

    @property
    def rank(self) -> int:
        """Its place among the queues of a pool, as Prefect counts: 1 goes first."""
        return tuple(Priority).index(self) + 1
