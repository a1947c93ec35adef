"""Numbers for inputs without samples: those that the model takes, and those at which graphs go wrong.

A graph may be right only for ordinary numbers. So there are zeros among the floats, two equal rows, two
equal ids and negative integers, which ONNX divides and looks up differently from TensorFlow. If a model
refuses some of these, or returns no number, milder numbers are drawn. If it returns the same for all small
numbers, as image models that divide by 255 do, larger numbers are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.domain.record import TensorSpec
from tasks.tensorflow.vocabulary import drawable

SEED = 0
_BYTES = 256
_DIGITS = 30
"""Integers that are divided have at most this many bits: TensorRT 8 computes 64-bit integers in 32 bits."""
_ZEROS = 1 / 16
_PIXELS = 128.0
_LEAST = 3

_Values = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How numbers are drawn.

    Attributes:
        limits: the number of ids for inputs that take ids, see `tasks.tensorflow.vocabulary`.
        divided: integer inputs that are divided, shifted and the like, so that any integer may occur.
        as_sizes: inputs whose numbers are sizes of tensors; no draw fits them, which messages then say.
        signs: whether integers may be negative.
        deviation: the standard deviation of floats.
        seed: the seed of the numbers.
        plain: whether only ordinary numbers are drawn.
    """

    limits: Mapping[str, int] = field(default_factory=dict)
    divided: frozenset[str] = frozenset()
    as_sizes: frozenset[str] = frozenset()
    signs: bool = True
    plain: bool = False
    deviation: float = 1.0
    seed: int = SEED

    def milder(self) -> tuple[Draws, ...]:
        """Return these draws, then milder ones to try if a model refuses them."""
        return self, replace(self, signs=False), replace(self, signs=False, plain=True)

    def larger(self) -> Draws:
        """Return the same draws with floats as large as pixel values."""
        return replace(self, deviation=_PIXELS)

    def again(self) -> Draws:
        """Return the same draws with other numbers."""
        return replace(self, seed=self.seed + 1)

    def are_floats(self, spec: TensorSpec) -> bool:
        """Return whether the numbers for an input are neither whole nor ids."""
        return self._end(spec) is None

    def drawn(self, spec: TensorSpec, index: int, shape: tuple[int, ...]) -> _Values:
        """Return numbers for an input, drawn from a seed of its own."""
        draw, dtype = np.random.default_rng([self.seed, index]), np.dtype(spec.dtype)
        if self._is_any(spec):
            values = _of_any_size(draw, shape, dtype)
        elif self._end(spec) is None:
            values = draw.standard_normal(shape) * self.deviation
            values = values if self.plain else np.where(draw.random(shape) < _ZEROS, 0.0, values)
        else:
            values = draw.integers(self._start(spec), self._end(spec), shape)
        return (
            values.astype(dtype) if self.plain else _repeated(values.astype(dtype), spec.name in self.limits)
        )

    def range_of(self, spec: TensorSpec) -> str:
        """Describe the range of the numbers."""
        end = self._end(spec)
        if self._is_any(spec):
            return f"whole numbers of up to {_DIGITS} bits" + (
                "" if spec.dtype[0] == "u" else " and both signs"
            )
        if end is None:
            return "standard normal" if self.deviation == 1 else f"normal of deviation {self.deviation:g}"
        return "false and true" if spec.dtype == "bool" else f"{self._start(spec)} to {end - 1}"

    def _is_any(self, spec: TensorSpec) -> bool:
        integers = np.dtype(spec.dtype).kind in "iu"
        return integers and self.signs and spec.name in self.divided and spec.name not in self.limits

    def _start(self, spec: TensorSpec) -> int:
        signed = np.dtype(spec.dtype).kind == "i" and spec.name not in self.limits
        return -1 if signed and self.signs else 0

    def _end(self, spec: TensorSpec) -> int | None:
        """Return the exclusive upper bound of the integers for an input; None if its numbers are floats.

        Ids stay below the size of the smallest table that they index. Other integers end at 1, as masks and
        token types do, an id that every table has; only bytes are known to go up to 255.
        """
        dtype = np.dtype(spec.dtype)
        ids = drawable(self.limits, spec.name, dtype)
        if ids is not None:
            return ids
        if dtype.kind == "f":
            return None
        return _BYTES if dtype == np.uint8 else 2


def _of_any_size(draw: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> _Values:
    """Return integers of every number of digits, of both signs if `dtype` has them, and zeros."""
    digits = min(_DIGITS, np.iinfo(dtype).bits - 1)
    values = np.exp2(draw.uniform(0, digits, shape)).astype(np.int64)
    values *= draw.random(shape) >= _ZEROS
    return values if dtype.kind == "u" else np.where(draw.random(shape) < 1 / 2, -values, values)


def _repeated(values: _Values, ids: bool) -> _Values:  # noqa: FBT001
    """Return `values` with the first row repeated as the last; for ids, also the first id of each row."""
    if values.ndim and len(values) >= _LEAST:
        values[-1] = values[0]
    if ids and values.ndim > 1 and values.shape[-1] >= _LEAST:
        values[..., -1] = values[..., 0]
    return values
