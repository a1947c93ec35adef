"""At which shapes of the optimisation profiles a model is asked, and by which names the answers are known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from tasks.domain.request import Shapes

_CORNERS = ("min", "opt", "max")


def corners_of(profiles: Iterable[Shapes]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes of every input at each corner: `min`, `opt`, `max`, then `min 2` and so on.

    The same shapes are asked once, under all of their names: `min/opt`.
    """
    groups: list[tuple[list[str], dict[str, tuple[int, ...]]]] = []
    for number, profile in enumerate(profiles, start=1):
        for corner in _CORNERS:
            name = corner if number == 1 else f"{corner} {number}"
            shapes = {key: shape.corners[corner] for key, shape in profile.items()}
            same = next((names for names, known in groups if known == shapes), None)
            if same is None:
                groups.append(([name], shapes))
            else:
                same.append(name)
    return {"/".join(names): shapes for names, shapes in groups}


def shapes_document(shapes: Shapes) -> dict[str, dict[str, Any]]:
    """Return `shapes` as `{input: {min, opt, max}}`."""
    return {name: asdict(shape) for name, shape in shapes.items()}
