"""Finds the calibration and the operations with the smallest error of the outputs, measured on samples.

onnxruntime's optimisations are off: they would fuse pairs into onnxruntime's own kernels, and the error would
be that of these. A pair itself changes the values in the same way everywhere.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import ModelProto

from tasks.children.compare import LARGEST_ERROR, relative_error
from tasks.children.weights import Scratch
from tasks.domain.errors import ChildOutOfMemory, FarmError, OperationUnsupported
from tasks.domain.request import Calibration, Precision
from tasks.onnx.quantise.graph import QuantisedGraphs
from tasks.onnx.quantise.samples import Samples
from tasks.onnx.quantise.sites import Site

_ONLY_ERRORS = 3
_LONGEST_MESSAGE = 600
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation")
_MOST_RANKED = 256
_HEADROOM = 0.5  # of the tolerance: the gate also compares on other rows
_LEAST_WORK = 0.5  # with less of its arithmetic, a precision would be nominal
Ranges = Mapping[str, float]


class Trials:
    """Measures how quantising some operations changes the outputs, on held-out rows."""

    def __init__(self, model: ModelProto, precision: Precision, samples: Samples, room: Scratch) -> None:
        self.graphs = QuantisedGraphs(model, precision, room)
        self._batches = list(samples.batches(samples.held_out))
        with session(model) as running:
            self._names = [output.name for output in running.get_outputs()]
            self._wanted = [running.run(self._names, feeds) for feeds in self._batches]

    def error(self, sites: Collection[Site], ranges: Ranges, *, batches: int | None = None) -> float:
        """Return the largest |difference| over the largest |value|, of the worst output; see the gate."""
        worst: dict[str, float] = dict.fromkeys(self._names, 0.0)
        scale = dict.fromkeys(self._names, 0.0)
        with session(self.graphs.make(sites, ranges)) as running:
            for feeds, wanted in list(zip(self._batches, self._wanted, strict=True))[:batches]:
                for name, expected, actual in zip(
                    self._names, wanted, running.run(self._names, feeds), strict=True
                ):
                    worst[name] = max(worst[name], relative_error(expected, actual)[0])
                    finite = np.abs(expected[np.isfinite(expected)])
                    scale[name] = max(scale[name], float(finite.max(initial=0)))
        return min(max(worst[name] / (scale[name] or 1.0) for name in self._names), LARGEST_ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The best result of the search.

    Attributes:
        calibration: how the ranges are chosen.
        sites: the operations that compute in low precision.
        errors: by each calibration that was tried, with the operations that it keeps.
    """

    calibration: Calibration
    sites: tuple[Site, ...]
    errors: Mapping[Calibration, float]


class Search:
    """Looks for the calibration with the smallest error, and for operations to leave out if it is too large.

    Args:
        trials: measures errors.
        sites: the operations that can compute in low precision.
        work: multiply-adds by node.
    """

    def __init__(self, trials: Trials, sites: tuple[Site, ...], work: Mapping[int, int]) -> None:
        self.trials = trials
        self._sites = sites
        self._work = work

    def best(
        self, ranges: Mapping[Calibration, Ranges], tolerance: float, report: Callable[[str, float], None]
    ) -> SearchResult:
        """Return the calibration with the smallest error; if that is above half of `tolerance`, with less.

        Operations are left out by their own error, relative to their work. At least half of all work stays:
        the accuracy gate then decides whether the error is small enough.
        """
        wanted = tolerance * _HEADROOM
        errors = {calibration: self.trials.error(self._sites, ranges[calibration]) for calibration in ranges}
        calibration = min(errors, key=lambda name: errors[name])
        if errors[calibration] <= wanted or len(self._sites) > _MOST_RANKED:
            return SearchResult(calibration=calibration, sites=self._sites, errors=errors)
        report("leave out", 0.7)
        ranked = self._ranked(ranges[calibration])
        kept = {name: self._kept(ranked, ranges[name], wanted, errors[name]) for name in ranges}
        errors = {name: error for name, (_, error) in kept.items()}
        # Among those that are good enough, the one that keeps the most operations.
        calibration = min(
            errors, key=lambda name: (max(errors[name], wanted), -len(kept[name][0]), errors[name])
        )
        return SearchResult(calibration=calibration, sites=kept[calibration][0], errors=errors)

    def _ranked(self, ranges: Ranges) -> list[Site]:
        alone = {site: self.trials.error((site,), ranges, batches=1) for site in self._sites}
        return sorted(self._sites, key=lambda site: -alone[site] / max(self._work[site.node], 1))

    def _kept(
        self, ranked: list[Site], ranges: Ranges, wanted: float, error: float
    ) -> tuple[tuple[Site, ...], float]:
        """Return the kept operations and their error: within `wanted` if possible, else the least error."""
        measured = {0: error}
        low, high = 0, self._most_left_out(ranked)
        while low < high:
            middle = (low + high) // 2
            if middle not in measured:
                measured[middle] = self.trials.error(ranked[middle:], ranges)
            low, high = (low, middle) if measured[middle] <= wanted else (middle + 1, high)
        if high not in measured:
            measured[high] = self.trials.error(ranked[high:], ranges)
        count = min(measured, key=lambda number: (max(measured[number], wanted), number))
        left_out = set(ranked[:count])
        return tuple(site for site in self._sites if site not in left_out), measured[count]

    def _most_left_out(self, ranked: list[Site]) -> int:
        work = np.cumsum([self._work[site.node] for site in ranked])
        return min(int(np.searchsorted(work, work[-1] * (1 - _LEAST_WORK), "right")), len(ranked) - 1)


@contextmanager
def session(model: ModelProto) -> Iterator[onnxruntime.InferenceSession]:
    """Yield a session that runs `model` from a file in the working folder, where its weights are.

    Raises:
        ChildOutOfMemory: onnxruntime could not allocate what the graph needs.
        OperationUnsupported: onnxruntime cannot run the graph on the samples.
    """
    path = Path(f"trial-{uuid.uuid4().hex}.onnx")
    path.write_bytes(model.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _ONLY_ERRORS
    try:
        yield onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):  # its classes have no common base
            raise _refusal(" ".join(str(error).split())[:_LONGEST_MESSAGE]) from error
        raise
    finally:
        path.unlink()


def _refusal(message: str) -> FarmError:
    wanted = f"onnxruntime {onnxruntime.__version__} to run the graph on the samples"
    if any(sign in message for sign in _OUT_OF_MEMORY):
        fix = "raise ENGINEFARM_CHILD_MEMORY_MIB, or lower the shapes in build.yaml"
        return ChildOutOfMemory(wanted=wanted, found=message, fix=fix)
    fix = "check that the model takes samples of the shapes in build.yaml, or leave int8 and fp8 out"
    return OperationUnsupported(wanted=wanted, found=message, fix=fix)
