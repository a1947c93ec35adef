"""What an engine is measured on."""

from __future__ import annotations

import numpy as np

from tasks.children.reference import Corner
from tasks.tensorrt.inside.measure.loads import batch_loads, corner_loads


def corners(**shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]) -> list[Corner]:
    """Corners of inputs with these shapes at min, opt and max."""
    return [
        Corner(
            name,
            {key: np.arange(np.prod(row[place])).reshape(row[place]) for key, row in shapes.items()},
            {},
            {},
        )
        for place, name in enumerate(("min", "opt", "max"))
    ]


def test_batches_between_the_corners_are_powers_of_two() -> None:
    given = corners(x=((1, 3), (8, 3), (20, 3)))
    assert [(load.name, load.batch) for load in corner_loads(given)] == [("min", 1), ("opt", 8), ("max", 20)]
    between = batch_loads(given, bool)
    assert [(load.name, load.batch) for load in between] == [("batch 2", 2), ("batch 4", 4), ("batch 16", 16)]
    assert between[2].shapes == {"x": (16, 3)}
    assert between[2].size == 48
    np.testing.assert_array_equal(between[0].inputs["x"], given[1].inputs["x"][:2])
    np.testing.assert_array_equal(between[2].inputs["x"][8:], given[1].inputs["x"])  # again from the start


def test_batches_that_no_profile_takes_are_left_out() -> None:
    given = corners(x=((1, 3), (8, 3), (20, 3)))
    between = batch_loads(given, lambda inputs: not 4 <= len(inputs["x"]) < 16)
    assert [load.batch for load in between] == [2, 16]


def test_corners_with_the_same_shapes_are_measured_once() -> None:
    given = corners(x=((4, 3), (4, 3), (4, 3)))
    assert [(load.name, load.batch) for load in corner_loads(given)] == [("min/opt/max", 4)]
    assert batch_loads(given, bool) == []


def test_only_what_varies_is_the_batch() -> None:
    given = corners(x=((1, 3), (2, 3), (8, 3)), table=((100, 7), (100, 7), (100, 7)), scale=((), (), ()))
    assert [load.batch for load in corner_loads(given)] == [1, 2, 8]
    (four,) = batch_loads(given, bool)
    assert four.shapes == {"x": (4, 3), "table": (100, 7), "scale": ()}


def test_without_one_batch_there_are_only_the_corners() -> None:
    given = corners(x=((1, 3), (2, 3), (8, 3)), boxes=((5, 4), (10, 4), (40, 4)))
    assert [(load.name, load.batch) for load in corner_loads(given)] == [
        ("min", None), ("opt", None), ("max", None)
    ]  # fmt: skip
    assert batch_loads(given, bool) == []


def test_a_length_is_no_batch() -> None:
    given = corners(tokens=((1, 16), (1, 64), (1, 128)))
    assert [load.batch for load in corner_loads(given)] == [1, 1, 1]
    assert batch_loads(given, bool) == []


def test_other_dimensions_are_those_of_opt() -> None:
    given = corners(tokens=((1, 16), (4, 64), (8, 128)))
    assert [load.shapes for load in batch_loads(given, bool)] == [{"tokens": (2, 64)}]
