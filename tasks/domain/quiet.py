"""Whether a GPU ran nothing else during a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_DRIFT = 0.05
"""The largest share by which the times of a case may drift on a quiet GPU."""

_MOST_BUSY = 5
_NEARLY_EMPTY_MIB = 64  # a CUDA context alone takes more than that
_HEAT_AND_FAULTS = {"HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown", "HwPowerBrakeSlowdown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """What the driver reports of a GPU at one moment; None for what it does not report.

    Attributes:
        moment: `before` this process used the GPU; `opened`, when it had its CUDA context; `busy`, while the
            engine ran; `after` it.
        processes: ids of the processes that compute on the GPU. In a container they may be the host's ids, or
            missing.
        used_mib: memory in use, except the driver's own.
        busy_percent: share of the last sampling interval in which a kernel ran.
        sm_mhz: clock of the processors.
        memory_mhz: clock of the memory.
        temperature_c: temperature in °C.
        power_w: power in W.
        throttled: why the clocks are throttled, in NVIDIA's terms.
    """

    moment: str
    processes: tuple[int, ...] | None
    used_mib: float | None
    busy_percent: int | None
    sm_mhz: int | None
    memory_mhz: int | None
    temperature_c: int | None
    power_w: float | None
    throttled: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """The verdict.

    Attributes:
        quiet: True or False if there is evidence; None if there is none.
        reason: the evidence.
    """

    quiet: bool | None
    reason: str


def judge_quiet(states: Sequence[GpuState], pid: int, drifts: Mapping[str, float]) -> Quiet:
    """Return whether the GPU was quiet.

    Args:
        states: the driver's reports, in order; empty if it did not answer.
        pid: the process that measured.
        drifts: by case, by which share its times grew from the first third to the last.
    """
    disturbed = [*_others(states, pid), *_work(states), *_held_back(states), *_drifted(drifts)]
    if disturbed:
        return Quiet(quiet=False, reason="; ".join(disturbed))
    if not states:
        return Quiet(quiet=None, reason="NVIDIA's management library (NVML) does not answer")
    if _sees_itself(states, pid):
        return Quiet(quiet=True, reason="no other process was on the GPU")
    first = _first_state(states, "before")
    if first is not None and first.used_mib is not None and first.used_mib < _NEARLY_EMPTY_MIB:
        return Quiet(
            quiet=True,
            reason="the driver shows no processes here, but the GPU's memory was empty before, so no other "
            "process was on it then, and nothing disturbed the times since",
        )
    return Quiet(quiet=None, reason="the driver shows no processes here, not even the one that measured")


def _first_state(states: Sequence[GpuState], moment: str) -> GpuState | None:
    return next((state for state in states if state.moment == moment), None)


def _seen(states: Sequence[GpuState], moment: str) -> set[int]:
    state = _first_state(states, moment)
    return set(state.processes or ()) if state is not None else set()


def _own_processes(states: Sequence[GpuState], pid: int) -> set[int]:
    """Return this process' ids: its own, and the id that appeared when it opened the GPU, in a container."""
    come = _seen(states, "opened") - _seen(states, "before")
    return {pid} if pid in come or len(come) != 1 else {pid, *come}


def _sees_itself(states: Sequence[GpuState], pid: int) -> bool:
    return not _own_processes(states, pid).isdisjoint(_seen(states, "opened"))


def _others(states: Sequence[GpuState], pid: int) -> list[str]:
    own_processes = _own_processes(states, pid)
    others = {process for state in states for process in state.processes or ()} - own_processes
    if not others:
        return []
    numbers = ", ".join(map(str, sorted(others)))
    return [f"other processes were on the GPU: {numbers}"]


def _work(states: Sequence[GpuState]) -> list[str]:
    """Return notes on work before and after this process' own."""
    return [
        f"the GPU was busy {state.busy_percent} % of the time {state.moment} the measurement"
        for state in states
        if state.moment in {"before", "after"} and (state.busy_percent or 0) > _MOST_BUSY
    ]


def _held_back(states: Sequence[GpuState]) -> list[str]:
    reasons = {reason for state in states for reason in state.throttled or ()} & _HEAT_AND_FAULTS
    return [f"the clocks were throttled: {', '.join(sorted(reasons))}"] if reasons else []


def _drifted(drifts: Mapping[str, float]) -> list[str]:
    return [
        f"the times at {case} moved by {drift:+.1%} while they were taken"
        for case, drift in drifts.items()
        if abs(drift) > MOST_DRIFT
    ]
