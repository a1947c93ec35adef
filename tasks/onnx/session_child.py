"""A graph in onnxruntime, as it is written. Runs in a child process.

onnxruntime's optimisations are off. Otherwise it fuses the graph both before and after a change of ours,
and the figures would describe its fusions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnxruntime

from tasks.children.compare import Arrays
from tasks.children.reference import Corner
from tasks.domain.errors import ChildOutOfMemory, VerificationFailed

_LONGEST_MESSAGE = 600
_ONLY_ERRORS = 3
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation", "pthread_create failed")
_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"  # for graphs given as bytes
# onnxruntime names element types as C++ does.
_NUMPY_NAMES = {"float": "float32", "double": "float64"}


def open_session(path: Path, graph: bytes | None = None) -> onnxruntime.InferenceSession:
    """Return a session of the graph at `path`, or of `graph`, whose weights are beside `path`.

    Raises:
        VerificationFailed: onnxruntime cannot load the graph.
        ChildOutOfMemory: it could not allocate what the graph needs.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _ONLY_ERRORS
    options.add_session_config_entry(_WEIGHTS_FOLDER, str(path.parent))
    try:
        return onnxruntime.InferenceSession(graph or str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 (onnxruntime's classes have no other common base)
        _refuse(error, f"onnxruntime {onnxruntime.__version__} to load {path.name}")


def run_corner(session: onnxruntime.InferenceSession, corner: Corner, path: Path) -> Arrays:
    """Return every output of the session for the inputs of `corner`, by name.

    Raises:
        VerificationFailed: the corner lacks an input, or onnxruntime stops with an error.
        ChildOutOfMemory: it could not allocate what the graph needs.
    """
    feeds = {}
    for declared in session.get_inputs():
        if declared.name not in corner.inputs:
            raise VerificationFailed(
                wanted=f"a value for input {declared.name} of {path.name} at {corner.name}",
                found=f"values for {', '.join(corner.inputs) or 'no input'}",
                fix="convert the release again: graph and reference file belong to different models",
            )
        feeds[declared.name] = corner.inputs[declared.name].astype(_dtype(declared.type), copy=False)
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
            "TensorFlow accepts these inputs, so the graph differs from the model: please report it with the "
            "model's structure; without the named layer, the model may convert"
        ),
    ) from error
