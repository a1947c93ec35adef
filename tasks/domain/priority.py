"""Which runs start first."""

from __future__ import annotations

from tasks.domain.text_enum import StrEnum


class Priority(StrEnum):
    """The work queue of a run; every pool has queues of these names.

    A free agent takes from the first queue that is not empty. Running work is never stopped for it.
    """

    PRODUCTION = "production"
    DEFAULT = "default"
    NIGHTLY = "nightly"

    @property
    def rank(self) -> int:
        """Its rank among the queues of a pool, as Prefect counts: 1 is first."""
        return tuple(Priority).index(self) + 1
