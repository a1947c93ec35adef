"""Child: runs a graph in onnxruntime and compares it with TensorFlow's outputs.

FP16 and BF16 nodes are emulated, see `tasks.onnx.emulate`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.children.compare import compare_outputs, with_spreads
from tasks.children.reference import Corner, answer, read_reference, write_reference
from tasks.onnx.emulate import emulated
from tasks.onnx.session_child import open_session, run_corner


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Compare `request["onnx"]` with `request["reference"]` at every corner.

    onnxruntime's outputs are written to `request["actual"]` in the layout of `tasks.children.reference`, up
    to the corner that it could not run.

    Raises:
        VerificationFailed: onnxruntime cannot run the graph, or the reference lacks one of its inputs.
        ChildOutOfMemory: onnxruntime could not allocate what the graph needs.
    """
    path = Path(request["onnx"])
    report("load", 0.0)
    session = open_session(path, emulated(path))
    corners = read_reference(Path(request["reference"]))
    comparisons, answers = [], list[Corner]()
    try:
        for done, corner in enumerate(corners):
            report(f"run {corner.name}", (done + 1) / (len(corners) + 1))
            actual = run_corner(session, corner, path)
            answers.append(answer(corner.name, actual))
            comparisons += compare_outputs(corner.name, corner.outputs, actual, corner.noise)
    finally:
        if answers and request["actual"] is not None:
            write_reference(Path(request["actual"]), answers)
    return {"comparisons": with_spreads(comparisons, (corner.outputs for corner in corners))}
