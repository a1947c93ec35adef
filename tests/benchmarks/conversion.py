"""Measures conversion to ONNX: `python -m tf2onnx.convert` against the farm's own children.

    python tests/benchmarks/conversion.py --repetitions 3

Prints a Markdown table and writes `results/conversion.json`. Each run is a fresh process; the runs of
the three ways alternate. Memory is the most resident memory of a process (none of them starts others).
"With reference" also lets TensorFlow answer at batch 1, 8 and 32, twice each. The farm's preflight and
export, which come before, are not in it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnx

import tasks.children.entry
from tasks.tensorflow.models import conversion_tools

_MODELS = ("MobileNetV2", "ResNet50")
_OPSET = 17
_RESULTS = Path(__file__).parent / "results" / "conversion.json"
_EXPORT = "import keras, sys; getattr(keras.applications, sys.argv[1])(weights=None).export(sys.argv[2])"
_MEMORY_MIB = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One process.

    Attributes:
        seconds: wall time from start to end.
        peak_mib: most resident memory.
        graph: digest of the graph that it wrote.
    """

    seconds: float
    peak_mib: float
    graph: str


def command_line(model: Path, folder: Path) -> Run:
    """Run the usual way."""
    options = ["--saved-model", str(model), "--opset", str(_OPSET), "--output", str(folder / "model.onnx")]
    seconds, peak = _process([sys.executable, "-m", "tf2onnx.convert", *options], folder)
    return Run(seconds=seconds, peak_mib=peak, graph=graph_digest(folder / "model.onnx"))


def farm(model: Path, folder: Path, *, reference: bool) -> Run:
    """Run the farm's two children, planning and converting, as `convert_saved_model` does."""
    request: dict[str, Any] = {
        "saved_model": str(model),
        "samples": None,
        "signature": None,
        "shapes": {},
        "opset": _OPSET,
        "onnx": str(folder / "model.onnx"),
        "reference": str(folder / "reference.npz") if reference else None,
    }
    planned = _child("plan_child", request, folder)
    plan = json.loads((folder / "answer.json").read_text("utf-8"))["result"]
    converted = _child("convert_child", request | {"plan": plan}, folder)
    seconds, peak = planned[0] + converted[0], max(planned[1], converted[1])
    return Run(seconds=seconds, peak_mib=peak, graph=graph_digest(folder / "model.onnx"))


def _child(module: str, request: dict[str, Any], folder: Path) -> tuple[float, float]:
    document = {"memory_mib": _MEMORY_MIB, "parent": os.getpid(), "request": request}
    (folder / "request.json").write_text(json.dumps(document), "utf-8")
    entry = tasks.children.entry.__file__
    return _process([sys.executable, entry, f"tasks.tensorflow.{module}", str(folder)], folder)


def _process(command: list[str], folder: Path) -> tuple[float, float]:
    """Return the wall time and the peak memory in MiB of one process."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    with (folder / "log").open("ab") as log:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(folder / 'log').read_text('utf-8')[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


_WAYS: dict[str, Callable[[Path, Path], Run]] = {
    "tf2onnx command line": command_line,
    "farm, graph alone": partial(farm, reference=False),
    "farm, with reference": partial(farm, reference=True),
}


def measure(way: str, model: Path, workdir: Path) -> Run:
    """Run one way on one SavedModel, in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=workdir) as name:
        return _WAYS[way](model, Path(name))


def graph_digest(path: Path) -> str:
    """Return a digest of what the graph computes, whatever its inner names and order of nodes are."""
    graph = onnx.load(path).graph
    known = {value.name: f"input {value.name}" for value in graph.input}
    for tensor in graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        known[tensor.name] = _sha256(str((array.dtype, array.shape)).encode() + array.tobytes())
    for node in graph.node:
        attributes = sorted((one.name, one.SerializeToString()) for one in node.attribute)
        inputs = [known.get(name, name) for name in node.input]
        digest = _sha256(repr((node.domain, node.op_type, attributes, inputs)).encode())
        known.update({name: f"{digest} {index}" for index, name in enumerate(node.output)})
    return _sha256(repr([(value.name, known[value.name]) for value in graph.output]).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def measure_all(repetitions: int, workdir: Path) -> dict[str, dict[str, list[Run]]]:
    """Return the runs by model and way."""
    runs: dict[str, dict[str, list[Run]]] = {}
    for name in _MODELS:
        model = workdir / name
        subprocess.run([sys.executable, "-c", _EXPORT, name, str(model)], check=True, capture_output=True)
        runs[name] = {way: [] for way in _WAYS}
        for _ in range(repetitions):
            for way in _WAYS:
                runs[name][way].append(measure(way, model, workdir))
    return runs


def table(runs: dict[str, dict[str, list[Run]]]) -> str:
    """Return the medians as a Markdown table."""
    lines = ["| model | way | wall time, s | peak memory, MiB | same graph |", "|---|---|---|---|---|"]
    for model, ways in runs.items():
        first = next(iter(ways.values()))
        for way, several in ways.items():
            seconds, peak = _median(several, "seconds"), _median(several, "peak_mib")
            share = f"({seconds / _median(first, 'seconds'):.2f}x)"
            memory = f"({peak / _median(first, 'peak_mib'):.2f}x)"
            same = "yes" if {run.graph for run in several} == {run.graph for run in first} else "no"
            lines.append(f"| {model} | {way} | {seconds:.1f} {share} | {peak:.0f} {memory} | {same} |")
    return "\n".join(lines)


def _median(runs: list[Run], figure: str) -> float:
    return statistics.median(float(getattr(run, figure)) for run in runs)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--output", type=Path, default=_RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as workdir:
        runs = measure_all(options.repetitions, Path(workdir))
    document: dict[str, Any] = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "opset": _OPSET,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
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
