"""Times a bound engine: on the GPU, on the host, and back to back beside a bare loop of the same calls."""

from __future__ import annotations

import time
from typing import Any

from tasks.domain.statistics import median

LEAST_ITERATIONS = 50
_PASS_SECONDS = 0.5
_FEWEST = 3  # even of a slow engine
_CHUNK = 32  # inferences, each between two CUDA events, before a wait for the GPU
_ROUND_SECONDS = 0.02
_MOST_IN_A_ROUND = 512  # the queue of a stream is bounded
_LEAST_ROUNDS = 10
_WARM_SECONDS = 2.0
_STEADY = 0.02


class Pacer:
    """Limits the length of a pass: long enough for its figures, and within its time.

    Args:
        most_seconds: the pass ends then, even after too few inferences.
        least: the least number of inferences, or rounds, if the time allows it.
        seconds: the least length of the pass, if the time allows it.
    """

    def __init__(
        self, most_seconds: float, *, least: int = LEAST_ITERATIONS, seconds: float = _PASS_SECONDS
    ) -> None:
        self._started = time.perf_counter()
        self._most, self._least, self._seconds = most_seconds, least, seconds

    def goes_on(self, done: int) -> bool:
        """Return whether another should follow the `done` ones."""
        passed = time.perf_counter() - self._started
        enough = done >= self._least and passed >= self._seconds
        return not enough and (passed < self._most or done < _FEWEST)


def warm_up(bound: Any, most_seconds: float) -> tuple[float, bool]:
    """Run until two successive rounds take equal time; return the ms per inference, and whether they did."""
    end = time.perf_counter() + min(most_seconds, _WARM_SECONDS)
    before, now, rounds = 0.0, _round(bound, 1), 1
    while rounds < _FEWEST or time.perf_counter() < end:
        before, now, rounds = now, _round(bound, round_length(now)), rounds + 1
        if rounds > _FEWEST and abs(now - before) <= _STEADY * before:
            return now, True
    return now, False


def round_length(ms: float) -> int:
    """Return how many inferences of `ms` make a round."""
    return max(1, min(_MOST_IN_A_ROUND, int(_ROUND_SECONDS * 1000 / max(ms, 1e-3))))


def gpu_times(cuda: Any, bound: Any, ms: float, most_seconds: float) -> list[float]:
    """Return the ms of each inference between two CUDA events; fast ones are queued behind each other.

    Args:
        cuda: the module `pycuda.driver`.
        bound: the engine.
        ms: the approximate time of an inference.
        most_seconds: no inference starts after that.
    """
    events = [(cuda.Event(), cuda.Event()) for _ in range(min(_CHUNK, round_length(ms)))]
    times: list[float] = []
    pace = Pacer(most_seconds)
    while pace.goes_on(len(times)):
        for start, end in events:
            start.record(bound.stream)
            bound.enqueue()
            end.record(bound.stream)
        bound.synchronize()
        times += [float(end.time_since(start)) for start, end in events]
    return times


def wall_times(bound: Any, most_seconds: float) -> list[float]:
    """Return the ms of each inference on the host, from its call to the end of the wait."""
    times: list[float] = []
    pace = Pacer(most_seconds)
    while pace.goes_on(len(times)):
        started = time.perf_counter()
        bound.enqueue()
        bound.synchronize()
        times.append((time.perf_counter() - started) * 1000)
    return times


def side_by_side(bound: Any, ms: float, most_seconds: float) -> list[tuple[float, float]]:
    """Return pairs of rounds, back to back: ms per inference by `Bound.enqueue`, and by TensorRT's own call.

    They take turns, and in every other pair the bare loop is first.
    """
    count = round_length(ms)
    pairs: list[tuple[float, float]] = []
    pace = Pacer(most_seconds, least=_LEAST_ROUNDS)
    while pace.goes_on(len(pairs)):
        if len(pairs) % 2:
            bare = _bare_round(bound, count)
            pairs.append((_round(bound, count), bare))
        else:
            ours = _round(bound, count)
            pairs.append((ours, _bare_round(bound, count)))
    return pairs


def over_bare(pairs: list[tuple[float, float]]) -> float:
    """Return by which share the first of each pair is longer: the median of all pairs."""
    return median([ours / bare for ours, bare in pairs]) - 1


def _round(bound: Any, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        bound.enqueue()
    bound.synchronize()
    return (time.perf_counter() - started) * 1000 / count


def _bare_round(bound: Any, count: int) -> float:
    context, stream = bound.context, bound.stream
    handle = stream.handle
    started = time.perf_counter()
    for _ in range(count):
        context.execute_async_v3(handle)
    stream.synchronize()
    return (time.perf_counter() - started) * 1000 / count
