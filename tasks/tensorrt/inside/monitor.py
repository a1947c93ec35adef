"""TensorRT's own progress reports, from version 10 on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_STEP = 0.01


@dataclass
class _Phase:
    """A part of the build: its start and its length, as fractions of the whole."""

    start: float
    width: float
    steps: int
    done: int = 0

    @property
    def position(self) -> float:
        return self.start + self.width * min(self.done, self.steps) / max(self.steps, 1)


class NestedPhases:
    """Nested phases as one fraction that never decreases.

    A phase takes as much of its parent as one of the parent's steps.
    """

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance
        self._phases: dict[str, _Phase] = {}
        self._told = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Start a phase; without a known parent it is the whole."""
        outer = self._phases.get(parent or "")
        if outer is None:
            self._phases[name] = _Phase(start=0.0, width=1.0, steps=steps)
        else:
            width = outer.width / max(outer.steps, 1)
            self._phases[name] = _Phase(start=outer.position, width=width, steps=steps)

    def step(self, name: str, number: int) -> None:
        """Complete step `number` of a phase, counted from 0."""
        phase = self._phases.get(name)
        if phase is None:
            return
        phase.done = number + 1
        if phase.position - self._told >= _STEP:
            self._told = phase.position
            self._advance(min(self._told, 1.0))

    def finish(self, name: str) -> None:
        """Finish a phase, even one that was never announced."""
        self._phases.pop(name, None)


def progress_monitor(trt: Any, advance: Callable[[float], None]) -> Any:
    """Return a monitor for `config.progress_monitor` that passes the fraction of the build to `advance`."""
    phases = NestedPhases(advance)

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            with suppress(OSError):  # the disk may be full; an error here would cancel the build
                phases.step(phase_name, step)
            return True  # False would cancel the build

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()
