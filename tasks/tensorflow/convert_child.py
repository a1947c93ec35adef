"""Child: a planned signature of a SavedModel becomes an ONNX graph and a reference file."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The same order of additions in every run; oneDNN chooses its own by processor.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf

from tasks.children.reference import write_reference
from tasks.children.weights import scratch
from tasks.domain.errors import ModelUnreadable
from tasks.domain.record import TensorSpec
from tasks.domain.request import Precision
from tasks.tensorflow.documents import shapes_of, specs_of
from tasks.tensorflow.draws import Draws
from tasks.tensorflow.feeds import describe, read_samples
from tasks.tensorflow.freeze_child import freeze
from tasks.tensorflow.graph_child import write_onnx
from tasks.tensorflow.reference_child import answer_corners, measure_noise, with_graph_names

# Weights get pages of their own, which go back to the system as soon as a copy is dropped. By default
# glibc keeps freed memory, and each of the many copies would add to the peak.
_M_MMAP_THRESHOLD = -3
_LARGE = 1 << 20


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Convert as `plan` (the answer of `plan_child`) says; write `onnx`, and `reference` if not None."""
    ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
    plan, seconds, samples_used = request["plan"], dict[str, float](), ""
    inputs, outputs = specs_of(plan["inputs"]), specs_of(plan["outputs"])
    report("load", 0.1)
    gc.disable()  # everything made here stays alive, and collecting garbage would take a third of the time
    with _timed(seconds, "load"):
        loaded = _load(Path(request["saved_model"]))
        function = loaded.signatures[plan["name"]]
    gc.enable()
    if request["reference"] is not None:
        report("reference", 0.3)
        with _timed(seconds, "reference"):
            samples_used = _write_answers(request, function, inputs)
    report("convert", 0.6)
    with _timed(seconds, "convert"), scratch() as room:
        frozen = freeze(function, inputs, outputs, plan["renamed"], room)
        del function, loaded
        gc.collect()  # a loaded model is full of cycles, which would keep its variables until the end
        plugin_ops = frozenset(request["plugin_ops"])
        written = write_onnx(frozen, Path(request["onnx"]), opset=request["opset"], plugin_ops=plugin_ops)
    weights = None if written.weights is None else str(written.weights)
    return {
        "seconds": seconds,
        "weights": weights,
        "plugin_ops": written.plugin_ops,
        "samples_used": samples_used,
    }


def _write_answers(request: dict[str, Any], function: Any, inputs: tuple[TensorSpec, ...]) -> str:
    """Write the reference; describe where the inputs' values came from."""
    plan = request["plan"]
    samples = read_samples(Path(request["samples"]), inputs) if request["samples"] else {}
    profiles = [shapes_of(profile) for profile in plan["profiles"]]
    draws = Draws(
        limits=plan["vocabularies"],
        divided=frozenset(plan["divided"]),
        as_sizes=frozenset(plan["as_sizes"]),
    )
    answers = answer_corners(function, inputs, profiles, samples, draws)
    measure_noise(function, answers.corners, Precision(plan["arithmetic"]))
    write_reference(Path(request["reference"]), with_graph_names(answers.corners, plan["renamed"]))
    return describe(inputs, samples, answers.draws)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[name] = time.monotonic() - started


def _load(folder: Path) -> Any:
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
            fix="upload the whole folder again, variables included; if that does not help, save it again",
        ) from error
