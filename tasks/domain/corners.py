"""The shapes of the optimisation profiles at which models are compared, and the names of these corners.

Halving, padding to a multiple and pooling fail at odd sizes, and requests tend to have even sizes. So a model
is also compared at odd sizes between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from tasks.domain.request import Shapes

_CORNERS = ("min", "opt", "max")


def corners_of(profiles: Iterable[Shapes]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes of every input at each corner: `min`, `opt`, `max`, then `min 2` and so on.

    Equal shapes are compared once, under all of their names: `min/opt`.
    """
    groups: list[tuple[list[str], dict[str, tuple[int, ...]]]] = []
    for number, profile in enumerate(profiles, start=1):
        for corner in _CORNERS:
            name = corner if number == 1 else f"{corner} {number}"
            shapes = {key: shape.corners[corner] for key, shape in profile.items()}
            same = next((names for names, corner_shapes in groups if corner_shapes == shapes), None)
            if same is None:
                groups.append(([name], shapes))
            else:
                same.append(name)
    return {"/".join(names): shapes for names, shapes in groups}


def odd_corners_of(profiles: Iterable[Shapes]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes at further corners, `odd`, `odd 2` and so on: close to `opt`, with odd lengths.

    A profile has no such corner if each length has an odd size already, or cannot have one. A model may
    refuse sizes between those of its profile. Lengths that are equal throughout the profile stay equal here.
    """
    corners = {}
    for number, profile in enumerate(profiles, start=1):
        odd = {sizes: _odd(*sizes) for sizes in _lengths(profile)}
        if any(size != opt for (_, opt, _), size in odd.items()):
            corners["odd" if number == 1 else f"odd {number}"] = {
                name: tuple(
                    odd.get(sizes, sizes[1]) for sizes in zip(shape.min, shape.opt, shape.max, strict=True)
                )
                for name, shape in profile.items()
            }
    return corners


def _lengths(profile: Shapes) -> set[tuple[int, int, int]]:
    """Return the sizes at min, opt and max of each dimension that is not a batch and has no odd size yet."""
    return {
        sizes
        for shape in profile.values()
        for axis, sizes in enumerate(zip(shape.min, shape.opt, shape.max, strict=True))
        if (axis or len(shape.opt) == 1) and not any(size % 2 and size > 1 for size in sizes)
    }


def _odd(low: int, best: int, high: int) -> int:
    """Return an odd size above 1 close to `best`; `best` if there is none."""
    return next(
        (size for size in (best + 1, best - 1) if low <= size <= high and size % 2 and size > 1), best
    )


def shapes_document(shapes: Shapes) -> dict[str, dict[str, Any]]:
    """Return `shapes` as `{input: {min, opt, max}}`."""
    return {name: asdict(shape) for name, shape in shapes.items()}
