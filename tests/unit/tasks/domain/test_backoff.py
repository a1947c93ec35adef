"""Backoff between the attempts of a retry."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from tasks.domain.backoff import Backoff


def test_each_pause_is_twice_the_one_before_up_to_the_longest() -> None:
    backoff = Backoff(first=1.0, longest=10.0)
    assert list(islice(backoff, 6)) == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert next(iter(backoff)) == 1.0  # another retry begins with the first


@pytest.mark.parametrize(("seconds", "pause"), [(59.9, 4.0), (60.0, 1.0), (600.0, 1.0)])
def test_backoff_is_reset_after_an_attempt_that_lasted(seconds: float, pause: float) -> None:
    pauses = iter(Backoff(first=1.0, longest=10.0, reset_after=60.0))
    assert [next(pauses), next(pauses)] == [1.0, 2.0]
    pauses.attempt_lasted(seconds)
    assert next(pauses) == pause


def test_backoff_without_a_limit_is_reset_by_hand_alone() -> None:
    pauses = iter(Backoff(first=1.0, longest=10.0))
    next(pauses)
    pauses.attempt_lasted(1e9)
    assert next(pauses) == 2.0
    pauses.reset()
    assert next(pauses) == 1.0


def test_jitter_takes_off_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(7)  # noqa: S311 (a test)
    monkeypatch.setattr(random, "random", drawn.random)
    many = [next(iter(Backoff(first=4.0, longest=4.0, jitter=0.5))) for _ in range(200)]
    assert all(2.0 < pause <= 4.0 for pause in many)
    assert len(set(many)) == 200
    monkeypatch.setattr(random, "random", lambda: 0.5)
    assert list(islice(Backoff(first=1.0, longest=4.0, jitter=0.5), 3)) == [0.75, 1.5, 3.0]
