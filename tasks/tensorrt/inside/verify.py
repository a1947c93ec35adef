"""Child: runs an engine on a GPU and compares it with TensorFlow's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tasks.children.compare import Arrays, compare_outputs, with_spreads
from tasks.children.reference import Corner, answer, read_reference, write_reference
from tasks.domain.errors import InputInvalid, RunFailed, VerificationFailed
from tasks.tensorrt.inside.engine.plan import checked_plan
from tasks.tensorrt.inside.engine.runner import Runner
from tasks.tensorrt.inside.library import load, load_pycuda
from tasks.tensorrt.inside.phases import Phases


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Run the engine at each corner of the reference, in each profile that accepts its shapes.

    Args:
        request: `module`, `plan`, `sha256`, `size`, `reference`, `gpu_index`, `plugins`, `carries_code`
            (whether the plan contains a runtime, which is then allowed to run), and `actual`: the file for
            the engine's outputs, in the layout of `tasks.children.reference`.
        report: takes the phases `load` and `run`.

    Returns:
        `comparisons`, as `tasks.children.compare.compare_outputs` makes them, and `seconds` by phase.

    Raises:
        DigestMismatch: the plan is not the expected one; TensorRT did not get it.
        ToolchainBroken: TensorRT does not load.
        PluginRefused: a library is not the expected one, or does not load.
        RunnerMissing: pycuda does not load.
        TargetUnavailable: the plan does not run on this GPU with this TensorRT.
        GpuUnavailable: there is no such GPU, or it is out of memory.
        VerificationFailed: the engine refuses the inputs, or stops with an error.
    """
    phases = Phases(report)
    plan = checked_plan(Path(request["plan"]), request["sha256"], request["size"])
    with phases.timed("load"):
        trt, cuda = load(request["module"]), load_pycuda()
        wanted = {name: request[name] for name in ("gpu_index", "plugins", "carries_code")}
        runner = Runner(trt, cuda, plan, **wanted)
    comparisons, answers = [], list[Corner]()
    corners = read_reference(Path(request["reference"]))
    try:
        with runner, _judged(), phases.timed("run") as advance:
            for number, corner in enumerate(corners, start=1):
                rows, actual = _worst_of_profiles(runner, corner)
                answers.append(answer(corner.name, actual))
                comparisons += rows
                advance(number / len(corners))
    finally:
        if answers and request["actual"] is not None:
            write_reference(Path(request["actual"]), answers)
    comparisons = with_spreads(comparisons, (corner.outputs for corner in corners))
    return {"comparisons": comparisons, "seconds": phases.seconds}


def _worst_of_profiles(runner: Runner, corner: Corner) -> tuple[list[dict[str, Any]], Arrays]:
    """Return the worst comparison of each output, and the answers furthest from TensorFlow.

    Each profile has its own kernels. An output may be furthest off in one profile and have the fewest equal
    best classes in another: the gate gets the worst of each figure.
    """
    inputs = as_taken(runner, corner.inputs)
    rows: dict[str, dict[str, Any]] = {}
    answers: Arrays = {}
    for profile in runner.profiles_for(inputs) or (None,):  # running it says why the shapes do not fit
        actual = runner.run(inputs, profile=profile)
        for row in compare_outputs(corner.name, corner.outputs, actual, corner.noise):
            name, before = row["output"], rows.get(row["output"])
            if name in actual and (before is None or row["relative"] > before["relative"]):
                answers[name] = actual[name]
            rows[name] = row if before is None else _worse(before, row)
    return list(rows.values()), answers


def _worse(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return the worst of each figure of two comparisons of an output with the same answer of TensorFlow.

    The clear rows are the same in both, unless one side has no such output, which fails by its error.
    """
    figures = first | {name: max(first[name], second[name]) for name in ("max_abs", "relative")}
    classes = [row for row in (first, second) if row["top1"] is not None]
    if classes:
        fewest = min(classes, key=lambda row: float(row["top1"]))
        figures |= {name: fewest[name] for name in ("top1", "top1_rows")}
    return figures | {"values": min(first["values"], second["values"])}


def as_taken(runner: Runner, inputs: Arrays) -> Arrays:
    """Return `inputs` with FP64 as FP32 if the engine has FP32: TensorRT-RTX converts them."""
    narrow = {tensor.name for tensor in runner.inputs if tensor.dtype == "float32"}
    return {
        name: array.astype(np.float32) if name in narrow and array.dtype == np.float64 else array
        for name, array in inputs.items()
    }


@contextmanager
def _judged() -> Iterator[None]:
    """Raise an engine's errors as the gate's verdict: TensorFlow accepted the same inputs."""
    try:
        yield
    except (InputInvalid, RunFailed) as cause:
        raise VerificationFailed(
            wanted=f"the engine to run on the reference inputs: {cause.wanted}",
            found=cause.found,
            fix="check the shapes in the engine's record, and build it again with another TensorRT",
        ) from cause
