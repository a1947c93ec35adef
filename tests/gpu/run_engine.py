"""Runs a fetched engine in a toolchain's interpreter, as a user's program would, and times it.

    PYTHONPATH=CHECKOUT python run_engine.py PLAN REFERENCE

Runs each corner of REFERENCE, then 2,000 inferences on the first one's inputs four ways: a bare loop of
`execute_async_v3`, `Bound.enqueue`, the same as a CUDA graph, and `Engine.run` with its copies. Prints a line
of JSON: the largest error by corner, and microseconds an inference.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tasks.children.compare import relative_error
from tasks.children.reference import read_reference
from tasks.tensorrt.runner import Bound, Engine

_RUNS, _ROUNDS = 500, 4


def microseconds(work: Callable[[], object], finish: Callable[[], object]) -> float:
    """Return how long one `work` takes: the median of several rounds of many, waited for by `finish`."""
    rounds = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        for _ in range(_RUNS):
            work()
        finish()
        rounds.append((time.perf_counter() - started) / _RUNS * 1e6)
    return statistics.median(rounds)


def bare(bound: Bound) -> Callable[[], object]:
    """Return TensorRT's own call."""
    execute, stream = bound.context.execute_async_v3, bound.stream.handle
    return lambda: execute(stream)


def main() -> None:
    """Run and print."""
    plan, reference = map(Path, sys.argv[1:])
    corners = read_reference(reference)
    errors, times = {}, {}
    with Engine.open(plan) as engine:
        for corner in corners:
            answers = engine.run(corner.inputs)
            errors[corner.name] = max(
                relative_error(wanted, answers[name])[1] for name, wanted in corner.outputs.items()
            )
        inputs = corners[0].inputs
        times["run"] = microseconds(lambda: engine.run(inputs), lambda: None)
        with engine.bind(inputs) as bound:
            for name, work in (
                ("bare", bare(bound)),
                ("enqueue", bound.enqueue),
                ("bare again", bare(bound)),
            ):
                times[name] = microseconds(work, bound.synchronize)
        with engine.bind(inputs, graph=True) as bound:
            times["graph"] = microseconds(bound.enqueue, bound.synchronize)
    sys.stdout.write(json.dumps({"errors": errors, "microseconds": times}) + "\n")


if __name__ == "__main__":
    main()
