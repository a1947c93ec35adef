"""Optimisation profiles: their JSON form, and the shapes at which a model is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from tasks.domain.request import Profile

_CORNERS = ("min", "opt", "max")
Shapes = dict[str, tuple[int, ...]]


def corners_of(profiles: Iterable[Profile]) -> dict[str, Shapes]:
    """Return the shapes of every input at each corner: `min`, `opt`, `max`, then `min 2` and so on.

    The same shapes are asked once, under the first of their names.
    """
    corners: dict[str, Shapes] = {}
    for number, profile in enumerate(profiles, start=1):
        for corner in _CORNERS:
            shapes = {name: shape.corners[corner] for name, shape in profile.items()}
            if shapes not in corners.values():
                corners[corner if number == 1 else f"{corner} {number}"] = shapes
    return corners


def shapes_document(profile: Profile) -> dict[str, dict[str, Any]]:
    """Return `profile` as `{input: {min, opt, max}}`."""
    return {name: asdict(shape) for name, shape in profile.items()}
