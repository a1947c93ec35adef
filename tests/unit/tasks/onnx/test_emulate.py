"""FP16 and BF16 on the CPU: each result is rounded, sums are in FP32, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tasks.onnx.emulate import emulate, emulated
from tasks.onnx.low_float import LowFloat
from tasks.onnx.structure import interface

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]
Lower = Callable[[onnx.ModelProto], onnx.ModelProto]


def test_every_result_is_rounded(parse: Parse, run_graph: Run, lowered: Lower) -> None:
    """FP32 would keep what FP16 and BF16 lose between two nodes."""
    model = parse(
        "g (float[n] x, float[n] small) => (float[n] y) { sum = Add (x, small) y = Sub (sum, x) }",
    )
    feeds = {"x": np.ones(2, np.float32), "small": np.array([2**-12, 2**-7], np.float32)}
    assert run_graph(model, feeds)[0].tolist() == [2**-12, 2**-7]
    assert run_graph(lowered(model), feeds)[0].tolist() == [0, 2**-7]


def test_sums_are_in_fp32(parse: Parse, run_graph: Run, lowered: Lower) -> None:
    """Counting one by one, FP16 stops at 2048 and BF16 at 256."""
    model = parse("g (float[1, 8192] x) => (float[1, 1] y) { y = MatMul (x, w) }", w=np.ones((8192, 1), "f4"))
    assert run_graph(lowered(model), {"x": np.ones((1, 8192), np.float32)})[0].item() == 8192


def test_it_rounds_where_numpy_rounds(
    parse: Parse, run_graph: Run, run_rounding: Run, lowered: Lower
) -> None:
    model = parse(
        """
        g (float[n, k] x, bool[n, k] hide) => (float[n, k] y) {
            scaled = Mul (x, scale)
            score = Where (hide, masked, scaled)
            wide = Exp (score)
            root = Sqrt (wide)
            y = Div (root, three)
        }
        """,
        scale=np.float32(0.37),
        masked=np.float32(-1e9),
        three=np.float32(3),
    )
    rng = np.random.default_rng(2)
    feeds = {"x": rng.normal(size=(5, 7)).astype(np.float32), "hide": rng.random((5, 7)) < 0.3}
    low = lowered(model)
    np.testing.assert_array_equal(run_graph(low, feeds)[0], run_rounding(low, feeds)[0])


def test_low_inputs_outputs_weights_and_bodies(run_graph: Run, low: LowFloat) -> None:
    kind = "float16" if low.name == "fp16" else "bfloat16"
    model = onnx.parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 22]>
        g (float[n] first, int64 times) => (float[n] y, {kind}[n] kept) {{
            x = Cast <to = {low.onnx}> (first)
            same = CastLike (first, weight)
            z = Loop (times, , same) <body = b (int64 i, bool c, {kind}[n] s) => (bool d, {kind}[n] t) {{
                d = Identity (c)
                u = Mul (s, weight)
                t = Add (u, x)
            }}>
            kept = Relu (z)
            y = Cast <to = 1> (kept)
        }}
        """
    )
    model.graph.initializer.append(numpy_helper.from_array(low.rounded(np.array([0.1], "f4")), "weight"))
    before = interface(model.graph)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    assert emulate(copy)
    onnx.checker.check_model(copy, full_check=True)
    assert interface(copy.graph) == before
    assert [tensor.data_type for tensor in copy.graph.initializer] == [low.onnx]
    first = np.array([1.1, -2.3], np.float32)
    x, wanted, weight = (low.rounded(v) for v in (first, first, np.array([0.1], np.float32)))
    for _ in range(3):
        product = low.rounded(wanted.astype(np.float32) * weight.astype(np.float32))
        wanted = low.rounded(product.astype(np.float32) + x.astype(np.float32))
    # onnxruntime gives BF16 outputs to NumPy in no type of its own: the FP32 output says the same.
    del model.graph.output[1]
    (actual,) = run_graph(model, {"first": first, "times": np.array(3)})
    np.testing.assert_array_equal(actual, np.maximum(wanted.astype(np.float32), 0))


def test_graphs_in_fp32_and_int8_stay_as_they_are(parse: Parse, tmp_path: Path) -> None:
    model = parse(
        """
        g (float[n] x) => (float[n] y) {
            q = QuantizeLinear (x, scale, zero)
            y = DequantizeLinear (q, scale, zero)
        }
        """,
        scale=np.float32(0.1),
        zero=np.int8(0),
    )
    onnx.save(model, tmp_path / "g.onnx")
    assert emulated(tmp_path / "g.onnx") is None
    assert not emulate(model)


@pytest.mark.parametrize("where", ["inside", "beside"])
def test_it_is_given_as_bytes_with_weights_where_they_were(
    parse: Parse, lowered: Lower, low: LowFloat, where: str, tmp_path: Path
) -> None:
    model = lowered(
        parse("g (float[n, 8] x) => (float[n, 8] y) { y = MatMul (x, w) }", w=np.eye(8, dtype="f4"))
    )
    outside = where == "beside"
    onnx.save(model, tmp_path / "g.onnx", save_as_external_data=outside, location="w.bin", size_threshold=0)
    files = sorted(tmp_path.iterdir())
    emulation = onnx.load_from_string(emulated(tmp_path / "g.onnx") or b"")
    assert [tensor.data_type for tensor in emulation.graph.initializer] == [low.onnx]
    assert bool(emulation.graph.initializer[0].external_data) == outside
    assert sorted(tmp_path.iterdir()) == files


def test_fp8_pairs_run_in_onnxruntime_as_they_are(run_graph: Run) -> None:
    """With 3 bits behind the first, what lies between 1 and 1.125 goes to the nearer, and 448 is the end."""
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 19]>
        g (float[n] x) => (float[n] y) {
            q = QuantizeLinear (x, scale, zero)
            y = DequantizeLinear (q, scale, zero)
        }
        """
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "scale"))
    zero = helper.make_tensor("zero", TensorProto.FLOAT8E4M3FN, (), b"\0", raw=True)
    model.graph.initializer.append(zero)
    feeds = {"x": np.array([1.05, 1.1, -1000], np.float32)}
    assert run_graph(model, feeds)[0].tolist() == [1, 1.125, -448]
