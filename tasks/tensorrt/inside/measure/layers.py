"""The time of each layer, as TensorRT reports it."""

from __future__ import annotations

from typing import Any

from tasks.domain.statistics import median
from tasks.tensorrt.inside.measure.passes import Pacer

_LEAST_RUNS = 20
_SECONDS = 0.2


class LayerClock:
    """Collects the times of layers. It must live as long as the contexts that it is attached to."""

    def __init__(self, trt: Any) -> None:
        self._collector = _collector(trt)

    def times(self, bound: Any, most_seconds: float) -> list[dict[str, Any]]:
        """Return each layer's `name`, `mean_ms` and `median_ms`, in the order of execution.

        From then on TensorRT times every layer separately, so no latency may be measured afterwards. There
        are no layers if TensorRT does not report them.
        """
        context = bound.context
        context.enqueue_emits_profile = False  # else every call waits for the GPU
        context.profiler = self._collector
        runs: list[dict[str, float]] = []
        pace = Pacer(most_seconds, least=_LEAST_RUNS, seconds=_SECONDS)
        while pace.goes_on(len(runs)):
            bound.enqueue()
            bound.synchronize()
            if not context.report_to_profiler():
                return []
            runs.append(self._collector.taken())
        names = dict.fromkeys(name for run in runs for name in run)
        return [_layer(name, [run.get(name, 0.0) for run in runs[1:]]) for name in names]


def _layer(name: str, times: list[float]) -> dict[str, Any]:
    return {"name": name, "mean_ms": sum(times) / len(times), "median_ms": median(times)}


def _collector(trt: Any) -> Any:
    class Collector(trt.IProfiler):  # type: ignore[misc]
        """Sums the times of one run; a layer in a loop is reported more than once."""

        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self._times: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self._times[layer_name] = self._times.get(layer_name, 0.0) + ms

        def taken(self) -> dict[str, float]:
            times, self._times = self._times, {}
            return times

    return Collector()
