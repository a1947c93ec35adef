"""How long passes go on, and that the bare loop is TensorRT's own call."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest

from tasks.tensorrt.inside.measure import passes
from tasks.tensorrt.inside.measure.passes import Pacer, over_bare, round_length, side_by_side, warm_up


class Clock:
    """The time that passes see; only what waits moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def read(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(passes, "time", SimpleNamespace(perf_counter=clock.read))
    return clock


class Slow:
    """Stands for a bound engine whose inference takes `ms`, and `extra` ms more by the runner's own call."""

    def __init__(self, clock: Clock, ms: float, extra: float = 0.0) -> None:
        self._clock = clock
        self.ms, self.extra, self.calls = ms, extra, Counter[str]()
        self.context = self.stream = self
        self.handle = 7
        self._pending = 0.0

    def enqueue(self) -> None:
        self.calls["enqueue"] += 1
        self._pending += self.ms + self.extra

    def execute_async_v3(self, handle: int) -> bool:
        assert handle == self.handle
        self.calls["bare"] += 1
        self._pending += self.ms
        return True

    def synchronize(self) -> None:
        self._clock.wait(self._pending / 1000)
        self._pending = 0.0


@pytest.mark.parametrize(
    ("most", "least", "seconds", "expected"), [(10.0, 50, 0.0, 50), (0.0, 50, 10.0, 3), (0.0, 2, 0.0, 2)]
)
def test_a_pass_has_enough_iterations_or_no_time(
    most: float, least: int, seconds: float, expected: int
) -> None:
    pace, done = Pacer(most, least=least, seconds=seconds), 0
    while pace.goes_on(done):
        done += 1
    assert done == expected


def test_a_pass_goes_on_for_its_seconds(clock: Clock) -> None:
    pace, done = Pacer(5.0, least=1, seconds=0.05), 0
    while pace.goes_on(done):
        clock.wait(0.01)
        done += 1
    assert done in (5, 6)  # five times 0.01 is 0.05, or a little less


@pytest.mark.parametrize(("ms", "count"), [(0.0001, 512), (0.02, 512), (1.0, 20), (20.0, 1), (5000.0, 1)])
def test_rounds_take_about_the_same_time(ms: float, count: int) -> None:
    assert round_length(ms) == count


def test_the_runner_and_the_bare_loop_take_turns_of_the_same_length(clock: Clock) -> None:
    engine = Slow(clock, 2.0)
    pairs = side_by_side(engine, 2.0, 0.0)
    assert len(pairs) == 3
    assert engine.calls == {"enqueue": 30, "bare": 30}


def test_what_the_runner_costs_more_is_measured(clock: Clock) -> None:
    assert over_bare(side_by_side(Slow(clock, 2.0, extra=1.0), 2.0, 0.3)) == pytest.approx(0.5)
    assert over_bare([(1.0, 1.0), (1.1, 1.0), (9.0, 1.0)]) == pytest.approx(0.1)


def test_warming_up_ends_when_the_times_are_steady(clock: Clock) -> None:
    ms, steady = warm_up(Slow(clock, 4.0), 5.0)
    assert steady
    assert ms == pytest.approx(4.0)


def test_warming_up_ends_at_the_latest_after_its_time(clock: Clock) -> None:
    class Slower(Slow):
        def enqueue(self) -> None:
            self.ms *= 1.5
            super().enqueue()

    _, steady = warm_up(Slower(clock, 1.0), 0.05)
    assert not steady
