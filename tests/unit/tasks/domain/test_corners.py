"""Corners of optimisation profiles: the shapes at which a model is asked, each once."""

from __future__ import annotations

from tasks.domain.corners import corners_of
from tasks.domain.request import ShapeRange


def batch(low: int, best: int, high: int) -> ShapeRange:
    return ShapeRange(min=(low, 8), opt=(best, 8), max=(high, 8))


def test_the_first_profile_has_plain_names_and_others_a_number() -> None:
    corners = corners_of([{"x": batch(1, 2, 4)}, {"x": batch(8, 16, 32)}])
    assert list(corners) == ["min", "opt", "max", "min 2", "opt 2", "max 2"]
    assert corners["opt 2"] == {"x": (16, 8)}


def test_the_same_shapes_are_asked_once_under_all_their_names() -> None:
    assert corners_of([{"x": batch(1, 1, 1)}]) == {"min/opt/max": {"x": (1, 8)}}
    corners = corners_of([{"x": batch(1, 2, 4)}, {"x": batch(4, 4, 8)}])
    assert list(corners) == ["min", "opt", "max/min 2/opt 2", "max 2"]


def test_shapes_are_the_same_where_those_of_every_input_are() -> None:
    fixed = ShapeRange(min=(3,), opt=(3,), max=(3,))
    corners = corners_of([{"x": batch(1, 1, 2), "y": fixed}, {"x": batch(1, 2, 2), "y": batch(1, 1, 1)}])
    assert list(corners) == ["min/opt", "max", "min 2", "opt 2/max 2"]
