"""Parses, builds and runs graphs in one process of a toolchain's interpreter, for `refused_graphs.py`.

    PYTHONPATH=CHECKOUT python tests/gpu/graph_trials.py MODULE COMPUTE PRECISION

MODULE is `tensorrt`, which takes the first GPU, or `tensorrt_rtx`, which builds for COMPUTE and runs nothing.
The first line on standard output tells what was probed. Then each line on standard input is a case
(`onnx`, `reference`, `profiles`), and each further line on standard output what became of it.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from tasks.children.compare import Arrays, relative_error
from tasks.children.reference import Corner, read_reference
from tasks.domain.errors import FarmError
from tasks.tensorrt.inside import probe
from tasks.tensorrt.inside.build import Session, configured, open_session, read_graph
from tasks.tensorrt.inside.engine.runner import Runner
from tasks.tensorrt.inside.library import load_pycuda
from tasks.tensorrt.inside.refusals import build_refusal
from tasks.tensorrt.inside.verify import as_taken

_WORKSPACE_MIB = 1024
_FASTEST_BUILD = 0


def _report(phase: str, fraction: float) -> None:
    del phase, fraction


def probed(module: str) -> dict[str, Any]:
    """Return version and GPU of the TensorRT in this interpreter; the GPU is None if there is none."""
    answer = probe.main({"module": module}, _report)
    gpus = answer["gpus"]
    return {**answer, "gpu": gpus[0] if gpus and module == "tensorrt" else None}


def opened(module: str, compute: str, precision: str, host: dict[str, Any]) -> Session:
    """Return a TensorRT that builds for the GPU of `host`, or else for `compute`."""
    gpu = host["gpu"]
    target = {
        "flavour": module,
        "version": host["version"],
        "gpu": gpu and gpu["name"],
        "compute_capabilities": [gpu["compute"] if gpu else compute],
        "os": host["os"],
        "architecture": host["architecture"],
    }
    return open_session(
        {
            "module": module, "target": target, "precision": precision, "profiles": [],
            "workspace_mib": _WORKSPACE_MIB, "optimization_level": _FASTEST_BUILD,
            "gpu_index": 0 if gpu else None, "plugins": [],
            "compatibility": {"version": False, "lean_runtime": True, "hardware": "none"},
            "refittable": False, "stripped": False,
        }
    )  # fmt: skip


class StoppedError(Exception):
    """A graph whose engine was not built, or did not run; `row` says why."""

    def __init__(self, verdict: str, said: str, fix: str = "") -> None:
        super().__init__(said)
        self.row = {"verdict": verdict, "said": said, "fix": fix}


def _stage(name: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except FarmError as error:
        raise StoppedError(f"refused ({name})", error.found, error.fix) from error
    except Exception as error:  # pybind11 raises what it likes; the next case is tried all the same
        raise StoppedError(f"failed ({name})", f"{type(error).__name__}: {error}") from error


def tried(opened_session: Session, case: dict[str, Any], *, runs: bool) -> dict[str, Any]:
    """Return what becomes of the graph of `case`."""
    opened_session.messages.clear()
    options = replace(opened_session.options, profiles=tuple(case["profiles"]))
    session = replace(opened_session, options=options)
    try:
        # The parser owns weights of the network.
        network, parser = _stage("parse", lambda: read_graph(session, case["onnx"]))
        plan = _stage("build", lambda: built(session, network))
        del parser
        figures = _stage("run", lambda: ran(session, plan, Path(case["reference"]))) if runs else {}
    except StoppedError as stopped:
        return stopped.row
    return {"verdict": "built", **figures}


def built(session: Session, network: Any) -> bytes:
    """Return the plan of `network`."""
    config = configured(session, network, lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan"
        if session.family.write_plan(session.trt, session.builder, network, config, path) is None:
            raise build_refusal(session.messages, needs_gpu=session.family.NEEDS_GPU)
        return path.read_bytes()


def ran(session: Session, plan: bytes, reference: Path) -> dict[str, Any]:
    """Return how far the engine is from TensorFlow: the worst of all outputs and corners."""
    with Runner(session.trt, load_pycuda(), plan, gpu_index=0) as runner:
        rows = [
            _compared(name, corner, expected, actual[name])
            for corner in read_reference(reference)
            for actual in [runner.run(as_taken(runner, corner.inputs))]
            for name, expected in corner.outputs.items()
        ]
    worst = max(rows, key=lambda row: (row["special"], row["relative"]), default={})
    return {"worst": worst, "compared": len(rows)}


def _compared(name: str, corner: Corner, expected: Any, actual: Any) -> dict[str, Any]:
    """Compare the values that are finite on both sides, and count the others that differ."""
    place = {"output": name, "corner": corner.name, "noise": corner.noise.get(name, 0.0)}
    if expected.shape != actual.shape:
        text = f"shape {list(actual.shape)}, not {list(expected.shape)}"
        return place | {"relative": relative_error(expected, actual)[1], "special": 0, "said": text}
    pair: Arrays = {"wide": expected.astype(np.float64), "other": actual.astype(np.float64)}
    wide, other = pair["wide"], pair["other"]
    finite = np.isfinite(wide) & np.isfinite(other)
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    _, relative = relative_error(wide[finite], other[finite])
    return place | {"relative": relative, "special": int(np.count_nonzero(~finite & ~same))}


def _answer_all(module: str, compute: str, precision: str, answers: TextIO) -> None:
    host = probed(module)
    session = opened(module, compute, precision, host)
    answers.write(json.dumps({"tensorrt": host["version"], "gpu": host["gpu"]}) + "\n")
    for line in sys.stdin:
        row = tried(session, json.loads(line), runs=host["gpu"] is not None)
        answers.write(json.dumps(row) + "\n")


def main() -> None:
    """Answer on what is standard output now; what TensorRT prints goes to standard error."""
    module, compute, precision = sys.argv[1:]
    with os.fdopen(os.dup(1), "w", buffering=1) as answers:
        os.dup2(2, 1)
        _answer_all(module, compute, precision, answers)


if __name__ == "__main__":
    main()
