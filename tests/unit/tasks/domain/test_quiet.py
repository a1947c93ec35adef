"""Whether a GPU was quiet, by what its driver said and by how the times moved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.domain.quiet import GpuState, judge_quiet

PID = 4711
IDLE = GpuState(
    moment="before",
    processes=(),
    used_mib=4.0,
    busy_percent=0,
    sm_mhz=345,
    memory_mhz=2619,
    temperature_c=33,
    power_w=70.0,
    throttled=(),
)


def states(
    *, before: tuple[int, ...] = (), own: int | None = PID, after: tuple[int, ...] = ()
) -> list[GpuState]:
    """What the driver says of a GPU with these other processes; `own` is how it shows this one."""
    mine = () if own is None else (own,)
    return [
        replace(IDLE, processes=before),
        replace(IDLE, moment="opened", processes=(*before, *mine), used_mib=500.0),
        replace(IDLE, moment="busy", processes=(*before, *mine), busy_percent=100, sm_mhz=1980),
        replace(IDLE, moment="after", processes=(*after, *mine)),
    ]


def test_alone_on_the_gpu_it_was_quiet() -> None:
    judged = judge_quiet(states(), PID, {"opt": 0.01, "max": -0.02})
    assert (judged.quiet, judged.reason) == (True, "no other process was on the GPU")


def test_a_container_may_number_this_process_otherwise() -> None:
    assert judge_quiet(states(own=99_000), PID, {}).quiet is True


@pytest.mark.parametrize("seen", [{"before": (7,)}, {"after": (7,)}, {"before": (7,), "own": 99_000}])
def test_another_process_is_found_whenever_it_is_there(seen: dict[str, tuple[int, ...]]) -> None:
    judged = judge_quiet(states(**seen), PID, {})  # type: ignore[arg-type]
    assert judged.quiet is False
    assert "other processes were on the GPU: 7" in judged.reason


def test_where_processes_are_hidden_an_empty_memory_shows_that_there_were_none() -> None:
    judged = judge_quiet(states(own=None), PID, {})
    assert judged.quiet is True
    assert "memory was empty" in judged.reason


def test_where_processes_are_hidden_and_memory_is_in_use_nothing_is_known() -> None:
    first, *others = states(own=None)
    judged = judge_quiet([replace(first, used_mib=900.0), *others], PID, {})
    assert judged.quiet is None
    assert "shows no processes" in judged.reason


def test_without_the_library_nothing_is_known_but_a_drift_shows() -> None:
    assert judge_quiet([], PID, {"opt": 0.0}).quiet is None
    judged = judge_quiet([], PID, {"opt": 0.0, "max": 0.2})
    assert judged.quiet is False
    assert judged.reason == "the times at max moved by +20.0% while they were taken"


def test_work_of_others_shows_before_and_after_but_not_while_this_one_works() -> None:
    first, *others = states(own=None)
    judged = judge_quiet([replace(first, busy_percent=40), *others], PID, {})
    assert judged.quiet is False
    assert judged.reason == "the GPU was busy 40 % of the time before the measurement"


@pytest.mark.parametrize(
    ("reasons", "held_back"),
    [
        (("SwPowerCap",), ""),
        (("HwThermalSlowdown", "SwPowerCap"), "HwThermalSlowdown"),
        (("HwSlowdown",), "HwSlowdown"),
    ],
)
def test_heat_spoils_the_figures_and_the_power_limit_is_the_cards_own(
    reasons: tuple[str, ...], held_back: str
) -> None:
    busy = [replace(state, throttled=reasons) if state.moment == "busy" else state for state in states()]
    judged = judge_quiet(busy, PID, {})
    assert judged.quiet is not bool(held_back)
    assert held_back in judged.reason


def test_a_driver_that_says_nothing_shows_nothing() -> None:
    silent = GpuState(
        **{name: None for name in GpuState.__dataclass_fields__ if name != "moment"}, moment="before"
    )
    assert judge_quiet([silent, replace(silent, moment="opened")], PID, {}).quiet is None
