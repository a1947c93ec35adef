"""Runs a graph in onnxruntime and compares it with TensorFlow's outputs. In a child process.

onnxruntime's optimisations are off: on, it fuses the graph before and after a change of ours alike, and
the figures would speak of its own fusions. FP16 and BF16 nodes are emulated, see `tasks.onnx.emulate`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnxruntime

from tasks.children.compare import Arrays, compare_outputs
from tasks.children.reference import Corner, answer, read_reference, write_reference
from tasks.domain.errors import ChildOutOfMemory, VerificationFailed
from tasks.onnx.emulate import emulated

_LONGEST_MESSAGE = 600
_ONLY_ERRORS = 3
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation")
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"  # for graphs given as bytes
# onnxruntime names element types as C++ does.
_NUMPY_NAMES = {"float": "float32", "double": "float64"}


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Compare `request["onnx"]` with `request["reference"]` on every corner.

    What onnxruntime answered is left in `request["actual"]` in the layout of `tasks.children.reference`, up
    to the corner that it could not run.

    Raises:
        VerificationFailed: onnxruntime cannot run the graph, or the reference lacks one of its inputs.
        ChildOutOfMemory: onnxruntime could not allocate what the graph needs.
    """
    path = Path(request["onnx"])
    report("load", 0.0)
    session = _session(path)
    corners = read_reference(Path(request["reference"]))
    comparisons, answers = [], list[Corner]()
    try:
        for done, corner in enumerate(corners):
            report(f"run {corner.name}", (done + 1) / (len(corners) + 1))
            actual = _run(session, corner, path)
            answers.append(answer(corner.name, actual))
            comparisons += compare_outputs(corner.name, corner.outputs, actual, corner.noise)
    finally:
        if answers and request["actual"] is not None:
            write_reference(Path(request["actual"]), answers)
    return {"comparisons": comparisons}


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _ONLY_ERRORS
    options.add_session_config_entry(_WEIGHTS_FOLDER, str(path.parent))
    try:
        source = emulated(path) or str(path)
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 (onnxruntime's classes have no other common base)
        _refuse(error, f"onnxruntime {onnxruntime.__version__} to load {path.name}")


def _run(session: onnxruntime.InferenceSession, corner: Corner, path: Path) -> Arrays:
    feeds = {}
    for wanted in session.get_inputs():
        if wanted.name not in corner.inputs:
            raise VerificationFailed(
                wanted=f"a value for input {wanted.name} of {path.name} at {corner.name}",
                found=f"values for {', '.join(corner.inputs) or 'no input'}",
                fix="convert the release again: graph and reference file belong to different models",
            )
        feeds[wanted.name] = corner.inputs[wanted.name].astype(_dtype(wanted.type), copy=False)
    names = [output.name for output in session.get_outputs()]
    try:
        values = session.run(names, feeds)
    except Exception as error:  # noqa: BLE001 (see above)
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feeds.items())
        _refuse(
            error, f"onnxruntime {onnxruntime.__version__} to run {path.name} at {corner.name} ({shapes})"
        )
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}


def _dtype(ort_type: str) -> np.dtype[Any]:
    """Return NumPy's type for `tensor(float16)` and the like."""
    name = ort_type.removeprefix("tensor(").removesuffix(")")
    return np.dtype(_NUMPY_NAMES.get(name, name))


def _refuse(error: Exception, wanted: str) -> NoReturn:
    message = " ".join(str(error).split())
    if any(sign in message for sign in _OUT_OF_MEMORY):
        raise ChildOutOfMemory(
            wanted=wanted,
            found=message[:_LONGEST_MESSAGE],
            fix="raise ENGINEFARM_CHILD_MEMORY_MIB, or lower the largest shapes in build.yaml",
        ) from error
    raise VerificationFailed(
        wanted=wanted,
        found=message[:_LONGEST_MESSAGE],
        fix=(
            "check that the shapes in build.yaml are ones that the model accepts; "
            "if they are, the graph differs from the model: try another opset or precision"
        ),
    ) from error
