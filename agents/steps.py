"""Whether the tasks of an agent go on, for its health."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from agents.health import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    does: str
    since: str
    until: float


class Steps:
    """By when each task of an agent must have taken its next step. Any thread may note one."""

    def __init__(self) -> None:
        self._last: dict[str, _Step] = {}

    def take(self, task: str, does: str, *, within: float) -> None:
        """Note that `task` lives and what it `does` now, which takes `within` seconds at most."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._last[task] = _Step(does=does, since=now, until=time.monotonic() + within)

    def report(self) -> Report:
        """Return how the agent is: well, unless a task should have taken its next step by now."""
        last = self._last.copy()
        now = time.monotonic()
        return Report(
            well=all(now < step.until for step in last.values()),
            workers={task: {"state": step.does, "since": step.since} for task, step in last.items()},
        )
