"""Attention and recurrence in FP16 and BF16: numbers at several batches, and engines of TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from tasks.onnx.low_float import LowFloat

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]
Lower = Callable[[onnx.ModelProto], onnx.ModelProto]
Weights = dict[str, npt.NDArray[Any]]

ATTENTION = """
    attention (float[n, 6, 8] x) => (float[n, 6, 8] y) {
        q = MatMul (x, query)
        k = MatMul (x, key)
        v = MatMul (x, value)
        kt = Transpose <perm = [0, 2, 1]> (k)
        dots = MatMul (q, kt)
        scaled = Mul (dots, scale)
        masked = Add (scaled, mask)
        weights = Softmax (masked)
        mixed = MatMul (weights, v)
        sum = Add (x, mixed)
        mean = ReduceMean <axes = [-1]> (sum)
        centred = Sub (sum, mean)
        square = Mul (centred, centred)
        variance = ReduceMean <axes = [-1]> (square)
        safe = Add (variance, epsilon)
        deviation = Sqrt (safe)
        y = Div (centred, deviation)
    }
"""
RECURRENCE = """
    recurrence (float[n, 6, 8] x) => (float[n, 16] y) {
        steps = Transpose <perm = [1, 0, 2]> (x)
        all, last = LSTM <hidden_size = 16> (steps, w, r, b)
        y = Squeeze (last, zero)
    }
"""


def attention_weights() -> Weights:
    rng = np.random.default_rng(4)
    weights = {name: rng.normal(size=(8, 8)).astype(np.float32) * 0.4 for name in ("query", "key", "value")}
    later = np.triu(np.ones((6, 6), np.float32), 1)
    return weights | {
        "scale": np.array(8**-0.5, np.float32),
        "mask": np.array(-1e9 * later, np.float32),
        "epsilon": np.array(1e-12, np.float32),
    }


def recurrence_weights() -> Weights:
    rng = np.random.default_rng(4)
    shapes = {"w": (1, 64, 8), "r": (1, 64, 16), "b": (1, 128)}
    weights = {name: rng.normal(size=shape).astype(np.float32) * 0.3 for name, shape in shapes.items()}
    return weights | {"zero": np.array([0], np.int64)}


@pytest.mark.parametrize(
    ("text", "weights"),
    [(ATTENTION, attention_weights()), (RECURRENCE, recurrence_weights())],
    ids=["attention", "recurrence"],
)
def test_numbers_and_engines(
    text: str,
    weights: Weights,
    parse: Parse,
    run_graph: Run,
    low: LowFloat,
    lowered: Lower,
    build_rtx: Callable[[Path, tuple[int, ...]], dict[str, Any]],
    tmp_path: Path,
) -> None:
    model = parse(text, **weights)
    low_model = lowered(model)
    rng = np.random.default_rng(8)
    for batch in (1, 4, 8):
        feeds = {"x": rng.normal(size=(batch, 6, 8)).astype(np.float32)}
        (wanted,), (actual,) = run_graph(model, feeds), run_graph(low_model, feeds)
        error = float(np.abs(actual - wanted).max() / np.abs(wanted).max())
        assert 0 < error < (5e-3 if low.name == "fp16" else 4e-2)
    onnx.save(low_model, tmp_path / "low.onnx")
    built = build_rtx(tmp_path / "low.onnx", (6, 8))
    carrier = "HALF" if low.name == "fp16" else "BF16"
    assert built["types"].count(carrier) > 10
    assert built["inputs"] == built["outputs"] == ["DataType.FLOAT"]


def test_what_rtx_lacks_in_bf16_stays_in_fp32(
    parse: Parse,
    lowered: Lower,
    low: LowFloat,
    build_rtx: Callable[[Path, tuple[int, ...]], dict[str, Any]],
    tmp_path: Path,
) -> None:
    """TensorRT-RTX 1.7 ends at a transposed convolution in BF16; in FP16 it has one."""
    text = (
        "up (float[n, 4, 8, 8] x) => (float[n, 4, 16, 16] y) { y = ConvTranspose <strides = [2, 2]> (x, w) }"
    )
    model = lowered(parse(text, w=np.ones((4, 4, 2, 2), np.float32)))
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert set(types.values()) == {low.onnx if low.name == "fp16" else onnx.TensorProto.FLOAT}
    onnx.save(model, tmp_path / "low.onnx")
    assert build_rtx(tmp_path / "low.onnx", (4, 8, 8))["bytes"] > 1000
