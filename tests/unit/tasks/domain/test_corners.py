"""Corners of optimisation profiles: the shapes at which a model is asked, each once."""

from __future__ import annotations

from tasks.domain.corners import corners_of, odd_corners_of
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


def test_a_length_that_no_corner_has_odd_is_asked_so_beside_the_best_shape() -> None:
    image = ShapeRange(min=(1, 8, 12), opt=(2, 20, 12), max=(4, 30, 12))
    assert odd_corners_of([{"x": image}]) == {"odd": {"x": (2, 21, 12)}}
    at_its_end = ShapeRange(min=(1, 8), opt=(2, 20), max=(4, 20))
    assert odd_corners_of([{"x": image}, {"x": at_its_end}])["odd 2"] == {"x": (2, 19)}


def test_lengths_and_batches_that_go_along_stay_together() -> None:
    edges = ShapeRange(min=(2,), opt=(4,), max=(8,))
    rows = ShapeRange(min=(2, 3), opt=(4, 3), max=(8, 3))
    assert odd_corners_of([{"edges": edges, "rows": rows}]) == {"odd": {"edges": (5,), "rows": (5, 3)}}


def test_no_odd_corner_is_added_for_batches_fixed_lengths_or_odd_ones() -> None:
    for low, best, high in ((8, 9, 16), (8, 8, 8), (1, 1, 1), (1, 2, 2)):
        image = ShapeRange(min=(1, low), opt=(8, best), max=(32, high))
        assert odd_corners_of([{"x": image}]) == {}
