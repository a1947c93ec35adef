"""Child: one signature of a SavedModel becomes an ONNX graph and a reference file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# The oracle must compute the same in every run, and like the plain kernels that ONNX describes.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tasks.children.compare import Arrays
from tasks.children.reference import write_reference
from tasks.domain.errors import ModelUnreadable
from tasks.domain.request import ShapeRange
from tasks.tensorflow.feeds import describe, read_samples
from tasks.tensorflow.freeze_child import freeze
from tasks.tensorflow.graph_check import check_signature
from tasks.tensorflow.graph_child import write_onnx
from tasks.tensorflow.reference_child import answer_corners
from tasks.tensorflow.sanitise import GRAPH_FILE
from tasks.tensorflow.shapes import effective_shapes
from tasks.tensorflow.signatures import Signature, choose_signature, serving_graph


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    signature: Signature
    shapes: dict[str, ShapeRange]
    derived: tuple[str, ...]
    samples: Arrays


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Convert the signature of `saved_model`; write `onnx`, and `reference` where it is not None."""
    folder, seconds = Path(request["saved_model"]), {}
    plan = _plan(folder, request)
    report("load", 0.1)
    started = time.monotonic()
    loaded = load(folder)
    function = loaded.signatures[plan.signature.name]
    seconds["load"] = time.monotonic() - started
    if request["reference"] is not None:
        report("reference", 0.3)
        started = time.monotonic()
        corners = answer_corners(function, plan.signature.inputs, plan.shapes, plan.samples)
        write_reference(Path(request["reference"]), corners)
        del corners
        seconds["reference"] = time.monotonic() - started
    report("convert", 0.6)
    started = time.monotonic()
    frozen = freeze(function, plan.signature.inputs, plan.signature.outputs)
    del function, loaded
    write_onnx(frozen, Path(request["onnx"]), opset=request["opset"])
    seconds["convert"] = time.monotonic() - started
    return _answer(plan, seconds)


def _plan(folder: Path, request: dict[str, Any]) -> _Plan:
    """Check the signature, the shapes and the samples before anything of the model is loaded."""
    saved_model = saved_model_pb2.SavedModel.FromString((folder / GRAPH_FILE).read_bytes())
    graph = serving_graph(saved_model)
    signature = check_signature(graph, choose_signature(graph, request["signature"]))
    samples = read_samples(Path(request["samples"]), signature.inputs) if request["samples"] else {}
    given = {
        name: ShapeRange(**{corner: tuple(dims) for corner, dims in shape.items()})
        for name, shape in request["shapes"].items()
    }
    sampled = {name: array.shape for name, array in samples.items()}
    shapes, derived = effective_shapes(signature.inputs, given, sampled)
    return _Plan(signature=signature, shapes=shapes, derived=derived, samples=samples)


def load(folder: Path) -> Any:
    """Return the loaded SavedModel.

    Raises:
        ModelUnreadable: TensorFlow cannot load it.
    """
    try:
        return tf.saved_model.load(folder, tags=["serve"])
    except MemoryError:
        raise
    except Exception as error:
        # From IndexError to DataLossError, depending on where the files are cut.
        raise ModelUnreadable(
            wanted=f"a SavedModel that TensorFlow {tf.__version__} loads",
            found=f"{type(error).__name__}: {str(error)[:500]}",
            fix="upload the whole folder again, variables included; save it again where that does not help",
        ) from error


def _answer(plan: _Plan, seconds: dict[str, float]) -> dict[str, Any]:
    return {
        "signature": plan.signature.name,
        "inputs": [asdict(spec) for spec in plan.signature.inputs],
        "outputs": [asdict(spec) for spec in plan.signature.outputs],
        "shapes": {name: asdict(shape) for name, shape in plan.shapes.items()},
        "derived_shapes": plan.derived,
        "samples_used": describe(plan.signature.inputs, plan.samples),
        "seconds": seconds,
    }
