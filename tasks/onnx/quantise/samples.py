"""The release's samples as batches: some rows to measure ranges on, others to measure the error on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, helper

from tasks.children.arrays import fitted, rows_with
from tasks.children.compare import Arrays
from tasks.domain.errors import SamplesInvalid
from tasks.domain.request import ShapeRange

_AT_ONCE = 8
_LARGE_ROW = 1 << 20  # bytes; the activations of one such row are many times that
_MOST_MEASURED = 128
_MOST_HELD_OUT = 32
_EVERY = 4
_ENOUGH = 16


class Samples:
    """Rows of the sample file in the shapes of the graph's inputs.

    Attributes:
        shapes: shape of one batch, by input.
        rows: number of rows in the file.

    Args:
        path: an `.npz` with one array per input, first dimension the batch.
        model: the graph.
        shapes: the requested shapes by input; inputs with fixed shapes may be missing.

    Raises:
        SamplesInvalid: an input of the graph has no samples, samples of another number of dimensions, or
            infinite ones; or all rows are equal.
    """

    def __init__(self, path: Path, model: ModelProto, shapes: Mapping[str, ShapeRange]) -> None:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        weights = {tensor.name for tensor in model.graph.initializer}
        self._arrays: Arrays = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for value in model.graph.input:
            if value.name in weights:
                continue
            kind = value.type.tensor_type
            dims = [dim.dim_value or None for dim in kind.shape.dim]
            _require(path, value.name, arrays, len(dims))
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
            self._arrays[value.name] = arrays[value.name].astype(dtype, copy=False)
            self.shapes[value.name] = _shape(dims, self._arrays[value.name].shape, shapes.get(value.name))
        _require_variety(path, self._arrays)
        self.rows = max((len(array) for array in self._arrays.values() if array.ndim), default=1)
        self._at_once = max((shape[0] for shape in self.shapes.values() if shape), default=1)

    @property
    def measured(self) -> range | list[int]:
        """Rows to measure ranges on."""
        if self.rows < _ENOUGH:
            return range(self.rows)
        return _spread([row for row in range(self.rows) if row % _EVERY], _MOST_MEASURED)

    @property
    def held_out(self) -> range | list[int]:
        """Rows to measure errors on: others than `measured`, if there are 16 rows or more."""
        if self.rows < _ENOUGH:
            return range(self.rows)
        return _spread(list(range(0, self.rows, _EVERY)), _MOST_HELD_OUT)

    def batches(self, rows: Sequence[int]) -> Iterator[Arrays]:
        """Yield `rows` in batches that the graph accepts; the last batch repeats rows until it is full."""
        for start in range(0, len(rows), self._at_once):
            chosen = np.resize(rows[start : start + self._at_once], self._at_once)
            yield {name: self._batch(name, chosen) for name in self._arrays}

    def _batch(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Return `rows` of one input; other dimensions are repeated or cut, as for the accuracy check."""
        array, shape = self._arrays[name], self.shapes[name]
        if not shape:
            return array
        chosen = array[np.resize(rows, shape[0]) % len(array)]
        return fitted(chosen, shape)


def _require(path: Path, name: str, arrays: Arrays, rank: int) -> None:
    if name not in arrays or arrays[name].ndim != rank or 0 in arrays[name].shape:
        raise SamplesInvalid(
            wanted=f"samples of {rank} dimensions for input {name} in {path.name}",
            found=f"shape {arrays[name].shape}"
            if name in arrays
            else f"only {', '.join(arrays) or 'nothing'}",
            fix="int8 and fp8 measure value ranges on the samples: "
            "write an array for each input, with the batch as first dimension",
        )


def _require_variety(path: Path, arrays: Arrays) -> None:
    """Refuse samples that give no range: infinite ones, and rows that are all equal."""
    for name, array in arrays.items():
        infinite = rows_with(np.isinf(array))
        if infinite.any():
            raise SamplesInvalid(
                wanted=f"finite numbers for input {name} in {path.name}: int8 and fp8 measure ranges on them",
                found=f"infinity in row {int(infinite.argmax())}",
                fix="remove the row, or write a finite number there",
            )
    if all(_is_constant(array) for array in arrays.values()):
        raise SamplesInvalid(
            wanted=f"samples in {path.name} that differ: int8 and fp8 measure ranges on them",
            found="only equal rows" if len(next(iter(arrays.values()))) > 1 else "one number",
            fix="write real inputs, 64 rows or more, of all kinds that the engine will get",
        )


def _is_constant(array: np.ndarray) -> bool:
    """Return whether all rows are equal; of a single row, all numbers."""
    first = array[:1] if array.ndim and len(array) > 1 else array.reshape(-1)[:1]
    return bool((array == first).all())


def _shape(dims: list[int | None], have: tuple[int, ...], wanted: ShapeRange | None) -> tuple[int, ...]:
    """Return the shape to run: the graph's, else the request's, else the samples'; few rows."""
    best = wanted.opt if wanted is not None else have
    shape = [best[axis] if dim is None else dim for axis, dim in enumerate(dims)]
    if shape and dims[0] is None:
        row = 4 * int(np.prod(shape[1:]))
        few = _AT_ONCE if row <= _LARGE_ROW else 1
        shape[0] = max(wanted.min[0], min(few, wanted.max[0])) if wanted is not None else few
    return tuple(shape)


def _spread(rows: list[int], most: int) -> list[int]:
    """Return at most `most` of `rows`, evenly spread."""
    if len(rows) <= most:
        return rows
    return [rows[index * len(rows) // most] for index in range(most)]
