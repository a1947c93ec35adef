"""When what waits will be done."""

from __future__ import annotations

import pytest

from flows.server.queue_times import finish_times, usual


@pytest.mark.parametrize(
    ("waiting", "running", "agents", "times"),
    [
        ([10.0, 10.0, 10.0], [], 1, [10, 20, 30]),
        ([10.0, 10.0, 10.0], [], 2, [10, 10, 20]),
        ([10.0, 10.0], [4.0], 1, [14, 24]),
        ([10.0, 10.0], [4.0], 2, [10, 14]),
        ([10.0], [-7.0], 1, [10]),  # it takes longer than usual: it may end at any moment
        ([10.0, 3.0], [4.0, 8.0, 1.0], 2, [14, 11]),  # one of the three is not an agent's any more
        ([10.0, None, 10.0], [], 3, [10, None, None]),
        ([10.0], [None], 2, [None]),
        ([10.0, 10.0], [], 0, [None, None]),
        ([], [], 0, []),
    ],
)
def test_finish_times(
    waiting: list[float | None], running: list[float | None], agents: int, times: list[float | None]
) -> None:
    assert finish_times(waiting, running, agents=agents) == times


def test_what_is_usual() -> None:
    assert usual([]) is None
    assert usual([1.0, 90.0, 3.0]) == 3.0
