"""When what waits in a pool will be done, by what such work took before."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from statistics import median


def finish_times(
    waiting: Sequence[float | None], running: Sequence[float | None], *, agents: int
) -> list[float | None]:
    """Return in how many seconds each of `waiting` will be done; None where nobody can tell.

    Args:
        waiting: what each will take, in seconds, in the order in which they are taken; None where no run of
            its kind has finished yet.
        running: what is left of each that runs.
        agents: how many are at work at the same time.
    """
    if agents < 1 or None in running:
        return [None] * len(waiting)
    free = sorted(max(left, 0.0) for left in running if left is not None)[-agents:]
    slots = [0.0] * (agents - len(free)) + free
    heapq.heapify(slots)
    times: list[float | None] = []
    for seconds in waiting:
        if seconds is None:  # nor can anybody tell when those behind it begin
            return times + [None] * (len(waiting) - len(times))
        done = heapq.heappop(slots) + seconds
        heapq.heappush(slots, done)
        times.append(done)
    return times


def usual(durations: Sequence[float]) -> float | None:
    """Return what such work takes, in seconds: the median; None where there was none."""
    return median(durations) if durations else None
