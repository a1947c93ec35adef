"""The narrow range and the few digits of FP16: masks, sizes and bounds survive them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.onnx.low_float import FP16

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]
Halve = Callable[[onnx.ModelProto], onnx.ModelProto]

RNG = np.random.default_rng(3)


@pytest.mark.parametrize(
    "apply",
    [
        "one = Cast <to = 1> (hide)  penalty = Mul (one, masked)  score = Add (x, penalty)",
        "score = Where (hide, masked, x)",
        "one = Cast <to = 1> (hide)  p = Mul (one, masked)  once = Add (x, p)  score = Add (once, p)",
    ],
)
def test_masks_beyond_fp16_give_finite_attention(
    parse: Parse, run_graph: Run, run_rounding: Run, halved: Halve, apply: str
) -> None:
    for masked in (-1e9, np.finfo(np.float32).min):
        model = parse(
            f"g (float[n, k] x, bool[n, k] hide) => (float[n, k] y) {{ {apply} y = Softmax (score) }}",
            masked=np.float32(masked),
        )
        hide = np.array([[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
        feeds = {"x": np.full((3, 4), -7, np.float32), "hide": hide}
        (wanted,) = run_graph(model, feeds)
        (found,) = run_rounding(halved(model), feeds)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[[0, 2]], wanted[[0, 2]], atol=1e-3)


def test_a_mask_made_from_shapes_alone_stays_finite(parse: Parse, run_rounding: Run, halved: Halve) -> None:
    model = parse(
        """
        g (float[k, k] x) => (float[k, k] y) {
            shape = Shape (x)
            ones = ConstantOfShape <value = float[1] {1.0}> (shape)
            later = Trilu <upper = 1> (ones, diagonal)
            penalty = Mul (later, masked)
            hidden = ConstantOfShape <value = float[1] {-1000000000.0}> (shape)
            once = Add (x, penalty)
            score = Where (never, hidden, once)
            y = Softmax (score)
        }
        """,
        diagonal=np.int64(1),
        masked=np.float32(-1e9),
        never=np.array([False]),
    )
    feeds = {"x": RNG.normal(size=(6, 6)).astype(np.float32) - 9}
    (wanted,), (found,) = run_rounding(model, feeds), run_rounding(halved(model), feeds)
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert found[0, 0] == 1


def test_sizes_are_not_computed_in_half(parse: Parse, run_rounding: Run, halved: Halve) -> None:
    model = parse(
        """
        g (float[n, 1] x) => (float[m] y) {
            shape = Shape (x)
            size = Gather (shape, zero)
            wide = Cast <to = 1> (size)
            twice = Mul (wide, two)
            more = Add (twice, one)
            count = Cast <to = 7> (more)
            flat = Flatten <axis = 0> (x)
            row = Squeeze (flat, zero)
            first = Slice (row, zero, one_int)
            root = Sqrt (first)
            y = Expand (root, count)
        }
        """,
        zero=np.array([0], np.int64),
        one_int=np.array([1], np.int64),
        two=np.float32(2),
        one=np.float32(1),
    )
    (found,) = run_rounding(halved(model), {"x": np.full((2050, 1), 9, np.float32)})
    assert found.shape == (4101,)
    assert (found == 3).all()


@pytest.mark.parametrize("arguments", ["warm, , scales", "warm, , , sizes", "warm, roi, scales"])
def test_resize_keeps_its_output_size(parse: Parse, run_graph: Run, arguments: str, halved: Halve) -> None:
    model = parse(
        f"""
        g (float[1, 2, h, w] x) => (float[1, 2, p, q] y) {{
            shape = Shape (x)
            floats = Cast <to = 1> (shape)
            wide = Div (wanted, floats)
            scales = Identity (wide)
            sizes = Cast <to = 7> (wanted)
            warm = Abs (x)
            y = Resize <mode = "linear"> ({arguments})
        }}
        """,
        wanted=np.array([1, 2, 30, 1023], np.float32),
        roi=np.zeros(0, np.float32),
    )
    feeds = {"x": RNG.normal(size=(1, 2, 7, 11)).astype(np.float32)}
    (wanted,), (found,) = run_graph(model, feeds), run_graph(halved(model), feeds)
    assert found.shape == wanted.shape == (1, 2, 30, 1023)
    np.testing.assert_allclose(found, wanted, atol=5e-3)


def test_bounds_keep_the_range_of_half(parse: Parse, run_rounding: Run, halved: Halve) -> None:
    model = parse(
        "g (float[n] x, float[n] w) => (float[n] y, float[n] z)"
        "{ y = Clip (x, low, high)  z = Mul (w, high) }",
        low=np.float32(-3e38),
        high=np.float32(3e38),
    )
    y, z = run_rounding(
        halved(model),
        {"x": np.array([65504, -65504, 0.5], np.float32), "w": np.array([1, -1, 0.5], np.float32)},
    )
    assert y.tolist() == [65504, -65504, 0.5]
    assert z.tolist() == [32752, -32752, 16376]


@settings(max_examples=60, deadline=None)
@given(st.floats(width=32))
def test_to_half_keeps_sign_finiteness_and_what_is_not_zero(value: float) -> None:
    half = float(FP16.rounded(np.array([value], np.float32))[0])
    if np.isnan(value):
        assert np.isnan(half)
        return
    assert np.isfinite(half) == np.isfinite(value)
    assert np.sign(half) == np.sign(value)
    if 2**-14 <= abs(value) <= 65504:
        assert abs(half - value) <= abs(value) * 2**-11
