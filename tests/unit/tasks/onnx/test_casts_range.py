"""The narrow range and the few digits of FP16 and BF16: masks, sizes and bounds survive them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.onnx.low_float import BF16, FP16, LowFloat

Arrays = dict[str, npt.NDArray[Any]]
Run = Callable[[onnx.ModelProto, Arrays], list[npt.NDArray[Any]]]
Parse = Callable[..., onnx.ModelProto]
Lower = Callable[[onnx.ModelProto], onnx.ModelProto]


@pytest.mark.parametrize(
    "apply",
    [
        "one = Cast <to = 1> (hide)  penalty = Mul (one, masked)  score = Add (x, penalty)",
        "score = Where (hide, masked, x)",
        "one = Cast <to = 1> (hide)  p = Mul (one, masked)  once = Add (x, p)  score = Add (once, p)",
    ],
)
def test_masks_give_finite_attention(
    parse: Parse, run_graph: Run, run_rounding: Run, lowered: Lower, close: float, apply: str
) -> None:
    for masked in (-1e9, np.finfo(np.float32).min):
        model = parse(
            f"g (float[n, k] x, bool[n, k] hide) => (float[n, k] y) {{ {apply} y = Softmax (score) }}",
            masked=np.float32(masked),
        )
        hide = np.array([[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
        feeds = {"x": np.full((3, 4), -7, np.float32), "hide": hide}
        (wanted,) = run_graph(model, feeds)
        (actual,) = run_rounding(lowered(model), feeds)
        assert np.isfinite(actual).all()
        np.testing.assert_allclose(actual[[0, 2]], wanted[[0, 2]], atol=close / 2)


def test_a_mask_made_from_shapes_alone_stays_finite(
    parse: Parse, run_rounding: Run, lowered: Lower, close: float
) -> None:
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
    feeds = {"x": np.random.default_rng(3).normal(size=(6, 6)).astype(np.float32) - 9}
    (wanted,), (actual,) = run_rounding(model, feeds), run_rounding(lowered(model), feeds)
    np.testing.assert_allclose(actual, wanted, atol=close)
    assert actual[0, 0] == 1


def test_sizes_are_not_computed_low(parse: Parse, run_rounding: Run, lowered: Lower) -> None:
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
    (actual,) = run_rounding(lowered(model), {"x": np.full((2050, 1), 9, np.float32)})
    assert actual.shape == (4101,)
    assert (actual == 3).all()


def test_a_size_that_is_held_within_wide_bounds_is_no_mask(
    parse: Parse, run_rounding: Run, lowered: Lower
) -> None:
    model = parse(
        """
        g (float[n, 1] x) => (float[m] y) {
            shape = Shape (x)
            size = Gather (shape, zero)
            wide = Cast <to = 1> (size)
            held = Max (wide, least)
            count = Cast <to = 7> (held)
            row = Squeeze (x, last)
            first = Slice (row, zero, one)
            y = Expand (first, count)
        }
        """,
        zero=np.array([0], np.int64),
        one=np.array([1], np.int64),
        last=np.array([1], np.int64),
        least=np.float32(-(2**31)),
    )
    (actual,) = run_rounding(lowered(model), {"x": np.full((4101, 1), 9, np.float32)})
    assert actual.shape == (4101,)


@pytest.mark.parametrize("arguments", ["warm, , scales", "warm, , , sizes", "warm, roi, scales"])
def test_resize_keeps_its_output_size(
    parse: Parse, run_graph: Run, arguments: str, lowered: Lower, close: float
) -> None:
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
    feeds = {"x": np.random.default_rng(4).normal(size=(1, 2, 7, 11)).astype(np.float32)}
    (wanted,), (actual,) = run_graph(model, feeds), run_graph(lowered(model), feeds)
    assert actual.shape == wanted.shape == (1, 2, 30, 1023)
    np.testing.assert_allclose(actual, wanted, atol=2 * close)


def test_bounds_keep_the_range(parse: Parse, run_rounding: Run, low: LowFloat, lowered: Lower) -> None:
    model = parse(
        "g (float[n] x, float[n] w) => (float[n] y, float[n] z)"
        "{ y = Clip (x, lowest, high)  z = Mul (w, high) }",
        lowest=np.float32(np.finfo(np.float32).min),
        high=np.float32(np.finfo(np.float32).max),
    )
    most = low.largest
    feeds = {"x": np.array([most, -most, 0.5], np.float32), "w": np.array([1, -1, 0.5], np.float32)}
    y, z = run_rounding(lowered(model), feeds)
    assert y.tolist() == [most, -most, 0.5]
    assert z.tolist() == [most / 2, -most / 2, most / 4]


@settings(max_examples=60, deadline=None)
@given(value=st.floats(width=32), low=st.sampled_from([FP16, BF16]))
def test_rounding_keeps_sign_finiteness_and_what_is_not_zero(value: float, low: LowFloat) -> None:
    rounded = float(low.rounded(np.array([value], np.float32))[0])
    if np.isnan(value):
        assert np.isnan(rounded)
        return
    assert np.isfinite(rounded) == np.isfinite(value)
    assert np.sign(rounded) == np.sign(value)
    smallest_normal, digits = (2**-14, 11) if low is FP16 else (2**-126, 8)
    if smallest_normal <= abs(value) <= low.largest:
        assert abs(rounded - value) <= abs(value) * 2**-digits


@pytest.mark.parametrize("low", [FP16, BF16], ids=lambda low: low.name)
def test_the_range_is_that_of_the_type(low: LowFloat) -> None:
    for edge in (low.largest, low.smallest):
        assert float(low.rounded(np.array([edge], np.float32))[0]) == edge
    dtype = low.rounded(np.zeros(1, np.float32)).dtype
    with np.errstate(over="ignore"):
        assert np.isinf(np.array([low.largest * (1 + 2**-7)]).astype(dtype)).all()
    assert not np.array([low.smallest / 2]).astype(dtype).any()
