"""Estimates when the waiting runs of a pool will be done, from the durations of earlier runs."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from statistics import median


def finish_times(
    waiting: Sequence[float | None], running: Sequence[float | None], *, agents: int
) -> list[float | None]:
    """Return in how many seconds each of `waiting` will be done; None if that cannot be estimated.

    Args:
        waiting: the duration of each waiting run in seconds, in queue order; None if no run of its kind has
            finished yet.
        running: the remaining time of each active run.
        agents: how many runs are executed in parallel.
    """
    if agents < 1 or None in running:
        return [None] * len(waiting)
    free = sorted(max(remaining, 0.0) for remaining in running if remaining is not None)[-agents:]
    slots = [0.0] * (agents - len(free)) + free
    heapq.heapify(slots)
    times: list[float | None] = []
    for seconds in waiting:
        if seconds is None:  # the start of all runs behind it is unknown, too
            return times + [None] * (len(waiting) - len(times))
        done = heapq.heappop(slots) + seconds
        heapq.heappush(slots, done)
        times.append(done)
    return times


def usual(durations: Sequence[float]) -> float | None:
    """Return the median of `durations`, in seconds; None if there are none."""
    return median(durations) if durations else None
