"""Child: finds where an engine first differs from its graph, by keeping inner tensors as outputs.

A tensor that is kept as an output cannot be fused away, so keeping it may make the engine correct: then
TensorRT's fusion of the layers around it is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tasks.children.compare import Arrays, relative_error
from tasks.children.reference import Corner, read_reference
from tasks.domain.errors import BuildRefused
from tasks.tensorrt.inside.build import Session, configured, open_session, read_graph
from tasks.tensorrt.inside.engine.runner import Runner
from tasks.tensorrt.inside.library import load_pycuda
from tasks.tensorrt.inside.network import outputs_of
from tasks.tensorrt.inside.timing import attach_timing
from tasks.tensorrt.inside.verify import as_taken

_KEPT_TYPES = ("FLOAT", "HALF")


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Find the first inner tensor that differs from onnxruntime's.

    Args:
        request: that of a build, and `reference`, `corner`, `values` (an `.npz` with onnxruntime's value of
            each of `tensors`, names in the graph's order, named by its index), `tolerance`, `most_builds` and
            `seconds`, after which no further engine is built.
        report: takes the phase `build N`.

    Returns:
        `place` in `tensors` (None if none was found), `relative`, `builds` and `reason`.

    Raises:
        FarmError: as the build and the verification.
    """
    corners = read_reference(Path(request["reference"]))
    corner = next(candidate for candidate in corners if candidate.name == request["corner"])
    with np.load(request["values"], allow_pickle=False) as values:
        search = _Search(open_session(request), request, corner, values, report)
        return search.found()


@dataclass(frozen=True)
class _Trial:
    """An engine that kept some tensors.

    Attributes:
        outputs: the largest error of an output against TensorFlow.
        inner: the error of each kept tensor against onnxruntime, by place.
    """

    outputs: float
    inner: dict[int, float]


@dataclass
class _Search:
    session: Session
    request: dict[str, Any]
    corner: Corner
    values: Any
    report: Callable[[str, float], None]
    builds: int = 0
    started: float = field(default_factory=time.monotonic)

    def found(self) -> dict[str, Any]:
        """Keep all tensors at once; if that makes the engine correct, keep one at a time."""
        places = range(len(self.request["tensors"]))
        trial = self._trial(places)
        wrong = [place for place in places if self._off(trial.inner.get(place, 0.0))]
        if self._off(trial.outputs) and wrong:
            return self._answer(wrong[0], trial.inner[wrong[0]], "every tensor between the nodes was kept")
        if self._off(trial.outputs):
            return self._answer(
                None, None, "every tensor between the nodes is correct: the error is in the last nodes"
            )
        return self._bisected(sorted(trial.inner))

    def _bisected(self, places: list[int]) -> dict[str, Any]:
        low, high, first = 0, len(places) - 1, None
        while low <= high and not self._over():
            middle = (low + high) // 2
            place = places[middle]
            trial = self._trial((place,))
            if self._off(trial.inner[place]):
                first, high = (place, trial.inner[place]), middle - 1
            elif self._off(trial.outputs):
                low = middle + 1
            else:
                return self._answer(
                    place, None, "the engine is correct if this is kept: fusion over it is wrong"
                )
        finished = low > high  # otherwise the search ran out of builds or time
        if first is None:
            remark = "" if finished else "; the search stopped before it found a tensor"
            return self._answer(None, None, f"with every tensor kept the engine is correct{remark}")
        if finished:
            return self._answer(*first, "by bisection: tensors before it are correct if they are kept")
        return self._answer(*first, "by bisection, stopped early: tensors before it may be wrong, too")

    def _over(self) -> bool:
        spent = time.monotonic() - self.started
        return bool(self.builds >= self.request["most_builds"] or spent > self.request["seconds"])

    def _off(self, error: float) -> bool:
        return not error <= float(self.request["tolerance"])

    def _answer(self, place: int | None, relative: float | None, reason: str) -> dict[str, Any]:
        return {"place": place, "relative": relative, "builds": self.builds, "reason": reason}

    def _trial(self, places: Collection[int]) -> _Trial:
        self.builds += 1
        self.report(f"build {self.builds}", self.builds / (self.request["most_builds"] + 1))
        answers = self._run({self.request["tensors"][place]: place for place in places})
        outputs = [relative_error(wanted, answers[name])[1] for name, wanted in self.corner.outputs.items()]
        inner = {
            place: relative_error(self.values[str(place)], answers[name])[1]
            for place in places
            if (name := self.request["tensors"][place]) in answers
        }
        return _Trial(max(outputs, default=0.0), inner)

    def _run(self, kept: Collection[str]) -> Arrays:
        session, request = self.session, self.request
        network, parser = read_graph(session, request["onnx"])
        keep_tensors(network, kept)
        config = configured(session, network, lambda _: None)
        timing = attach_timing(session.trt, config, session.family, request["timing"])
        plan = session.builder.build_serialized_network(network, config)
        del parser, timing
        if plan is None:
            raise BuildRefused(
                wanted="an engine that keeps tensors between its layers",
                found=session.messages.said(),
                fix="nothing: this only looks for the place where an engine is wrong",
            )
        with Runner(
            session.trt, load_pycuda(), bytes(plan),
            gpu_index=request["gpu_index"], carries_code=session.options.carries_code,
        ) as runner:  # fmt: skip
            return runner.run(as_taken(runner, self.corner.inputs))


def keep_tensors(network: Any, names: Collection[str]) -> None:
    """Make the floats among the tensors with these `names` outputs, too; missing tensors are skipped."""
    outputs = {tensor.name for tensor in outputs_of(network)}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for number in range(layer.num_outputs):
            tensor = layer.get_output(number)
            if tensor is None or tensor.name not in names or tensor.name in outputs:
                continue
            if tensor.dtype.name in _KEPT_TYPES and not tensor.is_shape_tensor:
                network.mark_output(tensor)
