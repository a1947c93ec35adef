"""Measures an open engine at each of its loads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from tasks.children.compare import Arrays
from tasks.children.reference import Corner
from tasks.domain.statistics import drift, median, summary
from tasks.tensorrt.inside.engine.runner import Runner
from tasks.tensorrt.inside.families.registry import Family
from tasks.tensorrt.inside.measure.layers import LayerClock
from tasks.tensorrt.inside.measure.loads import Load, batch_loads, corner_loads
from tasks.tensorrt.inside.measure.nvml import GpuWatch
from tasks.tensorrt.inside.measure.passes import (
    gpu_times,
    over_bare,
    round_length,
    side_by_side,
    wall_times,
    warm_up,
)
from tasks.tensorrt.inside.phases import Phases
from tasks.tensorrt.inside.verify import as_taken

_PASSES = 4  # warm-up and three measurements share the time of a case
_FOR_LAYERS = 0.2


class Session:
    """An open engine under measurement.

    Attributes:
        free_least: the least free memory of the GPU so far, in bytes.
        scratch: what the engine reports as its need, in bytes.
    """

    def __init__(self, trt: Any, cuda: Any, family: Family, runner: Runner, watch: GpuWatch) -> None:
        self._trt, self._cuda, self._family, self._runner, self._watch = trt, cuda, family, runner, watch
        self.free_least, self.scratch = float("inf"), 0

    def measure(
        self, corners: list[Corner], most_seconds: float, phases: Phases
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the cases, and the names of those that there was no time for.

        The layers come last: from then on TensorRT times each of them, which would distort latencies.
        """
        of_corners = corner_loads(corners)
        loads, needed = [*of_corners, *batch_loads(corners, self._takes)], len(of_corners)
        cases: list[tuple[Load, dict[str, Any]]] = []
        with phases.timed("run") as advance:
            for number, share in _shares(len(loads), most_seconds * (1 - _FOR_LAYERS), needed):
                cases.append((loads[number], self._measure_case(loads[number], share)))
                advance(len(cases) / len(loads))
        clock = LayerClock(self._trt)
        with phases.timed("layers"):
            for load, case in cases:
                with self._runner.bind(as_taken(self._runner, load.inputs), profile=load.profile) as bound:
                    case["layers"] = clock.times(bound, most_seconds * _FOR_LAYERS / len(cases))
        cases.sort(key=lambda case: case[0].size)
        return [case for _, case in cases], [load.name for load in loads[len(cases) :]]

    def _takes(self, inputs: Arrays) -> bool:
        return bool(self._runner.profiles_for(as_taken(self._runner, inputs)))

    def _measure_case(self, load: Load, most_seconds: float) -> dict[str, Any]:
        share = most_seconds / _PASSES
        with self._runner.bind(as_taken(self._runner, load.inputs), profile=load.profile) as bound:
            ms, steady = warm_up(bound, share)
            on_gpu = gpu_times(self._cuda, bound, ms, share)
            wall = wall_times(bound, share)
            pairs = side_by_side(bound, ms, share)
            self._note(bound, ms)
        return {
            "name": load.name,
            "shapes": load.shapes,
            "batch": load.batch,
            "iterations": len(on_gpu),
            "gpu_ms": summary(on_gpu),
            "wall_ms": summary(wall),
            "items_per_second": 1000 * (load.batch or 1) / median([ours for ours, _ in pairs]),
            "over_bare": over_bare(pairs),
            "drift": drift(on_gpu),
            "steady": steady,
        }

    def _note(self, bound: Any, ms: float) -> None:
        """Note memory, and the driver's report, while the engine runs."""
        engine = bound.context.engine
        self.scratch = self._family.device_memory(engine)
        self.free_least = min(self.free_least, self._cuda.mem_get_info()[0])
        for _ in range(round_length(ms)):
            bound.enqueue()
        self._watch.note("busy")
        bound.synchronize()


def _shares(count: int, most_seconds: float, needed: int) -> Iterator[tuple[int, float]]:
    """Yield the number of each case and the seconds it may last; after the time only the `needed` ones."""
    end = time.perf_counter() + most_seconds
    for number in range(count):
        remaining = end - time.perf_counter()
        if remaining <= 0 and number >= needed:
            return
        yield number, max(remaining, 0.0) / (count - number)
