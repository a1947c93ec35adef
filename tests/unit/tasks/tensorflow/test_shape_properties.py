"""Shapes: whatever a signature, a request and a sample file say, the ranges fit or the request is refused."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.domain.errors import RequestInvalid
from tasks.domain.record import TensorSpec
from tasks.domain.request import ShapeRange
from tasks.tensorflow.shapes import effective_shapes

_DIMS = st.lists(st.integers(-2, 40), max_size=3).map(tuple)
_DECLARED = st.lists(st.none() | st.integers(0, 40), max_size=3).map(tuple)
_NAMES = st.sampled_from(["a", "b", "c"])


@settings(max_examples=100, deadline=None)
@given(_DIMS, _DIMS, _DIMS)
def test_a_range_rises_from_1_or_is_none(
    low: tuple[int, ...], best: tuple[int, ...], high: tuple[int, ...]
) -> None:
    rises = len(low) == len(best) == len(high) and all(
        1 <= a <= b <= c for a, b, c in zip(low, best, high, strict=True)
    )
    made = None
    with contextlib.suppress(ValueError):
        made = ShapeRange(min=low, opt=best, max=high)
    assert (made is not None) == rises


@st.composite
def ranges(draw: st.DrawFn) -> ShapeRange:
    axes = draw(st.lists(st.lists(st.integers(1, 40), min_size=3, max_size=3).map(sorted), max_size=3))
    low, best, high = (tuple(axis[place] for axis in axes) for place in range(3))
    return ShapeRange(min=low, opt=best, max=high)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(_NAMES, _DECLARED, min_size=1),
    st.dictionaries(_NAMES, ranges()),
    st.dictionaries(_NAMES, st.lists(st.integers(1, 40), max_size=3).map(tuple)),
)
def test_every_input_gets_a_range_that_its_signature_takes(
    declared: dict[str, tuple[int | None, ...]],
    asked: dict[str, ShapeRange],
    sampled: dict[str, tuple[int, ...]],
) -> None:
    inputs = tuple(TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in declared.items())
    try:
        shapes, derived = effective_shapes(inputs, asked, sampled)
    except RequestInvalid:
        return
    assert list(shapes) == list(declared)
    assert set(derived) == declared.keys() - asked.keys()
    assert all(shapes[name] == shape for name, shape in asked.items())
    for name, shape in shapes.items():
        for dims in shape.corners.values():
            assert len(dims) == len(declared[name])
            assert all(fixed in (None, dim) for fixed, dim in zip(declared[name], dims, strict=True))
