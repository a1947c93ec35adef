"""Holds operations against TensorFlow, many in one process, on values at which graphs often differ.

Usage: operators.py FOLDER [--quick N] MODULE... A module is a file with `CASES`: name to (function, sets of
arrays for its arguments a, b, c). With `--quick` only one in N of its `QUICK` is compared, or of
its cases if it has none.
Each function is converted as the farm does it, open in every dimension in which its sets differ and in the
batch, and runs on each set. FOLDER gets the graphs, each with TensorFlow's answers in `reference.npz` beside
it, and `operators.json` with each case's shapes and differences as text, zeros of another sign apart
(`signs`), or the error that refuses it.
"""

from __future__ import annotations

import argparse
import gc
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx.reference import ReferenceEvaluator

from tasks.children.compare import Arrays
from tasks.children.reference import Corner, write_reference
from tasks.children.weights import scratch
from tasks.domain.errors import FarmError, OperationUnsupported
from tasks.domain.record import TensorSpec
from tasks.onnx.session_child import open_session, run_corner
from tasks.tensorflow.freeze_child import freeze
from tasks.tensorflow.graph_child import write_onnx
from tests.support.seeds import seed_everything

_OPSETS = (17, 18)
_ROUNDING = 32 * 2.0**-23
"""Of the largest value: what a few operations in another order may come to."""


def specs_of(sets: list[tuple[Any, ...]]) -> list[tf.TensorSpec]:
    """Return what `sets` have in common, open where they differ and in the batch."""
    specs = []
    for name, arrays in zip("abcd", zip(*sets, strict=True), strict=False):
        shapes = {array.shape for array in arrays}
        first = arrays[0].shape
        dims = [
            None if (axis == 0 and len(first) > 1) or len({shape[axis] for shape in shapes}) > 1 else size
            for axis, size in enumerate(first)
        ]
        specs.append(tf.TensorSpec(dims, arrays[0].dtype, name))
    return specs


def traced(function: Any, specs: list[tf.TensorSpec]) -> Any:
    """Return `function` as a graph with outputs y0, y1, and so on."""

    def serve(*arguments: Any) -> dict[str, Any]:
        answer = function(*arguments)
        answers = answer if isinstance(answer, (tuple, list)) else [answer]
        return {f"y{index}": tf.identity(value) for index, value in enumerate(answers)}

    return tf.function(serve, input_signature=specs, autograph=False).get_concrete_function()


def _spec(name: str, tensor: Any) -> TensorSpec:
    shape = None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
    return TensorSpec(name=name, dtype=tensor.dtype.name, shape=shape or ())


def _written(function: Any, graph: Path) -> None:
    names = {tensor.name.split(":")[0]: tensor for tensor in function.inputs}
    inputs = tuple(_spec(name, tensor) for name, tensor in names.items() if len(name) == 1)
    outputs = tuple(_spec(name, tensor) for name, tensor in function.structured_outputs.items())
    for opset in _OPSETS:
        try:
            with scratch() as room:
                frozen = freeze(function, inputs, outputs, {}, room)
                write_onnx(frozen, graph, opset=opset, plugin_ops=frozenset())
        except OperationUnsupported:
            if opset == _OPSETS[-1]:
                raise
        else:
            break


def difference(expected: Any, actual: Any) -> str | None:
    """Return what tells the two arrays apart beyond rounding; None if nothing does."""
    if expected.shape != actual.shape:
        return f"shape {actual.shape}, not {expected.shape}"
    if expected.dtype.kind not in "fV" and expected.dtype.name != "bfloat16":
        wrong = expected != actual
    else:
        wide, other = expected.astype(np.float64), actual.astype(np.float64)
        finite = np.isfinite(wide)
        scale = np.max(np.abs(wide[finite]), initial=0.0)
        with np.errstate(invalid="ignore"):
            near = np.abs(wide - other) <= _ROUNDING * scale
        wrong = ~(near | (wide == other) | (np.isnan(wide) & np.isnan(other)))
    if not wrong.any():
        return None
    place = tuple(int(index) for index in np.argwhere(wrong)[0])
    count = int(np.count_nonzero(wrong))
    return f"{count} of {expected.size} differ; at {place} {actual[place]!r}, not {expected[place]!r}"


def signs_lost(expected: Any, actual: Any) -> Any:
    """Return where both arrays are zero, with different signs."""
    if expected.shape != actual.shape or expected.dtype.kind != "f":
        return np.zeros((), bool)
    both_zero = (expected == 0) & (actual == 0)
    return both_zero & (np.signbit(expected) != np.signbit(actual))


def _signs(graph: Path, corner: Corner, actual: Arrays) -> list[str]:
    """Return where a zero has another sign, in onnxruntime and by ONNX's own definition of the operations.

    onnxruntime's `Where`, for example, loses signs that the graph keeps.
    """
    if not any(signs_lost(value, actual[name]).any() for name, value in corner.outputs.items()):
        return []
    evaluator = ReferenceEvaluator(onnx.load(graph))
    with np.errstate(all="ignore"):
        answers = dict(zip(evaluator.output_names, evaluator.run(None, corner.inputs), strict=True))
    texts = []
    for name, value in corner.outputs.items():
        lost = signs_lost(value, actual[name]) & signs_lost(value, np.asarray(answers[name]))
        if lost.any():
            place = tuple(int(index) for index in np.argwhere(lost)[0])
            texts.append(f"{name} of set {corner.name}: {np.count_nonzero(lost)}, first at {place}")
    return texts


def _compared(function: Any, sets: list[tuple[Any, ...]], graph: Path) -> dict[str, Any]:
    concrete = traced(function, specs_of(sets))
    _written(concrete, graph)
    session, corners = open_session(graph), list[Corner]()
    differences, signs = list[str](), list[str]()
    for number, arrays in enumerate(sets):
        fed: Arrays = dict(zip("abcd", arrays, strict=False))
        expected = {name: value.numpy() for name, value in concrete(*map(tf.constant, arrays)).items()}
        corners.append(Corner(str(number), fed, expected, {}))
        actual = run_corner(session, corners[-1], graph)
        for name, value in expected.items():
            text = difference(value, actual[name])
            if text:
                differences.append(f"{name} of set {number}: {text}")
        signs += _signs(graph, corners[-1], actual)
    write_reference(graph.with_name("reference.npz"), corners)
    return {"differences": differences, "signs": signs, "shapes": _profile(sets)}


def _profile(sets: list[tuple[Any, ...]]) -> dict[str, dict[str, list[int]]]:
    """Return the smallest, first and largest sizes of every argument."""
    profile = {}
    for name, arrays in zip("abcd", zip(*sets, strict=True), strict=False):
        sizes = np.array([array.shape for array in arrays])
        corners = {"min": sizes.min(axis=0), "opt": sizes[0], "max": sizes.max(axis=0)}
        profile[name] = {corner: [int(size) for size in dims] for corner, dims in corners.items()}
    return profile


def _cases(module: str, quick: int | None) -> dict[str, Any]:
    names = runpy.run_path(module)
    cases: dict[str, Any] = names["CASES"]
    return {name: cases[name] for name in list(names.get("QUICK", cases))[::quick]} if quick else cases


def main(folder: Path, modules: list[str], quick: int | None) -> None:
    """Compare every case of `modules`."""
    seed_everything()
    answers: dict[str, Any] = {}
    for module in modules:
        for name, (function, sets) in _cases(module, quick).items():
            try:
                answers[name] = _compared(function, sets, folder / name / "model.onnx")
            except FarmError as error:
                answers[name] = {"error": error.to_document()}
            gc.freeze()
    (folder / "operators.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--quick", type=int)
    main(**vars(parser.parse_args()))
