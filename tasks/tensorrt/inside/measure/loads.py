"""The inputs of measurements: the corners of the engine's shapes, and batches between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tasks.children.compare import Arrays
from tasks.children.reference import Corner

_BEST = "opt"


@dataclass(frozen=True)
class Load:
    """Inputs of one set of shapes.

    Attributes:
        name: the corners with these shapes, or `batch N`.
        batch: the first dimension that counts, see `tasks.domain.profile.Case`.
        inputs: values by input.
        profile: the optimisation profile to measure; None: one that fits.
    """

    name: str
    batch: int | None
    inputs: Arrays
    profile: int | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by input."""
        return {name: tuple(value.shape) for name, value in self.inputs.items()}

    @property
    def size(self) -> int:
        """Number of values in all inputs."""
        return sum(int(value.size) for value in self.inputs.values())


def corner_loads(corners: list[Corner]) -> list[Load]:
    """Return one load for each set of shapes among `corners`; corners with the same shapes share a load."""
    batched = _batched(corners)
    names: dict[str, list[str]] = {}
    for corner in corners:
        names.setdefault(_key(corner), []).append(corner.name)
    by_name = {corner.name: corner for corner in corners}
    return [
        Load("/".join(same), _batch(by_name[same[0]], batched), by_name[same[0]].inputs, _profile(same[0]))
        for same in names.values()
    ]


def batch_loads(corners: list[Corner], takes: Callable[[Arrays], object]) -> list[Load]:
    """Return loads with the powers of two between the smallest and the largest batch as first dimension.

    Other dimensions are those of `opt`, whose values are repeated or cut. There are no loads if no first
    dimension is dynamic, or the dynamic ones differ. Batches that the engine does not accept, by `takes`,
    are left out: there may be a gap between optimisation profiles.
    """
    batched = _batched(corners)
    corner_batches = {_batch(corner, batched) for corner in corners}
    batches = [batch for batch in corner_batches if batch is not None]
    if not batched or None in corner_batches or len(batches) == 1:
        return []
    best = next((corner for corner in corners if _BEST in corner.name.split("/")), corners[-1])
    powers = (1 << exponent for exponent in range(max(batches).bit_length()))
    loads = (
        Load(f"batch {batch}", batch, _resized(best.inputs, batched, batch))
        for batch in powers
        if min(batches) < batch < max(batches) and batch not in corner_batches
    )
    return [load for load in loads if takes(load.inputs)]


def _key(corner: Corner) -> str:
    return str(sorted((name, value.shape) for name, value in corner.inputs.items()))


def _profile(name: str) -> int:
    """Return the profile of a corner: `min 2` belongs to the second."""
    _, _, number = name.partition("/")[0].partition(" ")
    return int(number or 1) - 1


def _batched(corners: list[Corner]) -> list[str]:
    """Return the inputs whose first dimension differs between corners; if none does, all that have one."""
    first = {
        name: {corner.inputs[name].shape[0] for corner in corners}
        for name, value in corners[0].inputs.items()
        if value.ndim
    }
    return [name for name, sizes in first.items() if len(sizes) > 1] or list(first)


def _batch(corner: Corner, batched: list[str]) -> int | None:
    sizes = {int(corner.inputs[name].shape[0]) for name in batched}
    return sizes.pop() if len(sizes) == 1 else None


def _resized(inputs: Arrays, batched: list[str], batch: int) -> Arrays:
    """Return `inputs` with `batch` rows: the first ones, repeated."""
    return {
        name: value.take(np.arange(batch) % len(value), axis=0) if name in batched else value
        for name, value in inputs.items()
    }
