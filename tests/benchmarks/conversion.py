"""Measures conversion to ONNX: `python -m tf2onnx.convert` against the farm's own children.

    python tests/benchmarks/conversion.py                                  # all of keras.applications
    python tests/benchmarks/conversion.py ResNet50 --repetitions 3 --reference
    python tests/benchmarks/conversion.py --workers 16 --seconds 300       # each worker has two processors

Prints a Markdown table of medians and writes `results/conversion.json`. Each run is a fresh process, and the
ways alternate on one model. Memory is the most resident memory of a process. "farm" is the farm's planning
and converting child, each closed off as always; `--reference` adds a way in which TensorFlow also answers at
batch 1, 8 and 32, twice each. The farm's preflight and export, which come before, are not in it. A run that
fails or exceeds `--seconds` is in the table with its reason.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import platform
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tasks.children.run import ChildProgram, Limits, run_child
from tasks.children.workspace import Workspace
from tasks.domain.errors import FarmError
from tasks.domain.release import ModelFormat
from tasks.tensorflow.models import LocalModel, conversion_tools, export_saved_model
from tests.benchmarks.graph_digest import NoGraphError, described
from tests.zoo.large import APPLICATIONS

_OPSET = 17
_RESULTS = Path(__file__).parent / "results" / "conversion.json"
_EXPORT = "import keras, sys; getattr(keras.applications, sys.argv[1])(weights=None).export(sys.argv[2])"
_SANITISED = "sanitised"
_INPUT, _PICTURES, _ANY_SIZE = "keras_tensor", (8, 224, 224, 3), ("MobileNetV3Large", "MobileNetV3Small")
_MEMORY_MIB = 131072
_PROCESSORS = 2
_LAST_OUTPUT = 300
_digesting = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One way, once.

    Attributes:
        seconds: wall time from start to end, or up to the failure.
        peak_mib: most resident memory; 0 where it failed.
        nodes: nodes of the graph.
        graph: digest of the graph that it wrote.
        failure: why there is no graph; None where there is one.
    """

    seconds: float
    peak_mib: float = 0.0
    nodes: int = 0
    graph: str = ""
    failure: str | None = None


Runs = dict[str, list[Run]]


def command_line(model: Path, folder: Path, limit: float) -> float:
    """Run the usual way; return its peak memory."""
    options = ["--saved-model", str(model), "--opset", str(_OPSET), "--output", str(folder / "model.onnx")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tf2onnx.convert", *options],
            stdout=log,
            stderr=log,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
        )
        timer = threading.Timer(limit, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        in_time = timer.is_alive()
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = (folder / "log").read_text("utf-8", "replace").strip().splitlines() or ["nothing said"]
        reason = f"status {process.returncode}: {said[-1][:_LAST_OUTPUT]}"
        raise NoGraphError(reason if in_time else f"over {limit:.0f} s")
    return usage.ru_maxrss / 1024


def farm(model: Path, folder: Path, limit: float, *, reference: bool) -> float:
    """Run the farm's two children, as `convert_saved_model` does; return the larger peak memory."""
    name = model.name
    request: dict[str, Any] = {
        "saved_model": model.with_name(_SANITISED),
        "samples": None,
        "signature": None,
        "shapes": {_INPUT: dict.fromkeys(("min", "opt", "max"), _PICTURES)} if name in _ANY_SIZE else {},
        "profiles": [],
        "plugin_ops": [],
        "opset": _OPSET,
        "onnx": str(folder / "model.onnx"),
        "reference": str(folder / "reference.npz") if reference else None,
    }
    limits = Limits(memory_mib=_MEMORY_MIB, seconds=limit)

    async def both() -> float:
        plan = await run_child(_child("plan"), request, workdir=folder, limits=limits)
        asked = request | {"plan": plan.result}
        done = await run_child(_child("convert"), asked, workdir=folder, limits=limits)
        return max(plan.peak_mib, done.peak_mib)

    try:
        return asyncio.run(both())
    except FarmError as error:
        raise NoGraphError(str(error)[:_LAST_OUTPUT]) from error


def _child(step: str) -> ChildProgram:
    return ChildProgram(module=f"tasks.tensorflow.{step}_child", step=step)


def measure(way: Callable[[Path, Path, float], float], model: Path, workdir: Path, limit: float) -> Run:
    """Run one way on one SavedModel, in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=workdir) as name:
        started = time.monotonic()
        try:
            peak = way(model, Path(name), limit)
            seconds = time.monotonic() - started
            with _digesting:  # one at a time: it needs memory for a graph
                nodes, digest = described(Path(name) / "model.onnx", _OPSET)
        except NoGraphError as error:
            return Run(seconds=time.monotonic() - started, failure=str(error))
        return Run(seconds=seconds, peak_mib=peak, nodes=nodes, graph=digest)


def measure_model(name: str, options: argparse.Namespace) -> Runs:
    """Return the runs of one model by way."""
    ways: dict[str, Callable[[Path, Path, float], float]] = {
        "tf2onnx": command_line,
        "farm": partial(farm, reference=False),
    }
    if options.reference:
        ways["farm, with reference"] = partial(farm, reference=True)
    runs: Runs = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        workdir, model = Path(folder), Path(folder) / name
        subprocess.run([sys.executable, "-c", _EXPORT, name, str(model)], check=True, capture_output=True)
        exported = LocalModel(format=ModelFormat.SAVED_MODEL, path=model)
        limits = Limits(memory_mib=_MEMORY_MIB, seconds=options.seconds)
        sanitised = asyncio.run(export_saved_model(exported, work=Workspace(folder=workdir, limits=limits)))
        sanitised.rename(workdir / _SANITISED)
        for _ in range(options.repetitions):
            for way, run in ways.items():
                runs[way].append(measure(run, model, workdir, options.seconds))
                print(f"{name}, {way}: {runs[way][-1]}", file=sys.stderr, flush=True)  # noqa: T201 (progress)
    return runs


def measure_all(options: argparse.Namespace) -> dict[str, Runs]:
    """Return the runs by model; each worker and its processes keep to two processors of their own."""
    free = queue.SimpleQueue[set[int]]()
    processors = sorted(os.sched_getaffinity(0))
    for index in range(options.workers):
        free.put(set(processors[index * _PROCESSORS : (index + 1) * _PROCESSORS]))

    def take_processors() -> None:
        os.sched_setaffinity(0, free.get())  # of this thread; its processes inherit it

    with ThreadPoolExecutor(options.workers, initializer=take_processors) as workers:
        runs = workers.map(partial(measure_model, options=options), options.models)
        return dict(zip(options.models, runs, strict=True))


def table(runs: dict[str, Runs]) -> str:
    """Return the medians as a Markdown table, by name."""
    ways = list(next(iter(runs.values())))
    heads = [f"{way}{unit}" for way in ways for unit in (", s", ", MiB")]
    lines = [f"| model | {' | '.join(heads)} | same graph |", f"|{'---|' * (len(heads) + 2)}"]
    for model, by_way in sorted(runs.items()):
        usual, digests = by_way[ways[0]], {run.graph for several in by_way.values() for run in several}
        cells = [cell for way in ways for cell in _cells(by_way[way], usual)]
        same = "yes" if len(digests) == 1 and "" not in digests else "no"
        lines.append(f"| {model} | {' | '.join(cells)} | {same} |")
    return "\n".join(lines)


def _cells(runs: list[Run], usual: list[Run]) -> list[str]:
    failure = next((run.failure for run in runs if run.failure is not None), None)
    if failure is not None:
        return [failure.replace("|", "/"), "-"]
    figures = [_median(runs, "seconds"), _median(runs, "peak_mib")]
    texts = [f"{figures[0]:.1f}", f"{figures[1]:.0f}"]
    if runs is usual or any(run.failure is not None for run in usual):
        return texts
    shares = [figures[0] / _median(usual, "seconds"), figures[1] / _median(usual, "peak_mib")]
    return [f"{text} ({share:.2f}×)" for text, share in zip(texts, shares, strict=True)]  # noqa: RUF001


def _median(runs: list[Run], figure: str) -> float:
    return statistics.median(float(getattr(run, figure)) for run in runs)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", default=[model.name for model in APPLICATIONS])
    parser.add_argument("--repetitions", type=int, default=1)
    parser.add_argument("--reference", action="store_true", help="also measure with TensorFlow's answers")
    parser.add_argument("--workers", type=int, default=1, help="models at a time")
    parser.add_argument("--seconds", type=float, default=600.0, help="time limit of one run")
    parser.add_argument("--output", type=Path, default=_RESULTS)
    options = parser.parse_args()
    if options.workers * _PROCESSORS > len(os.sched_getaffinity(0)):
        parser.error(f"--workers {options.workers} needs {options.workers * _PROCESSORS} processors")
    runs = measure_all(options)
    document: dict[str, Any] = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "opset": _OPSET,
        "python": platform.python_version(),
        "processors": f"{_PROCESSORS} for each of {options.workers} workers",
        "tools": conversion_tools(),
        "runs": {
            model: {way: [asdict(run) for run in several] for way, several in ways.items()}
            for model, ways in runs.items()
        },
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    print(table(runs))  # noqa: T201 (what the script is for)


if __name__ == "__main__":
    main()
