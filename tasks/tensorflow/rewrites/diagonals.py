"""Diagonals and identities become comparisons of row and column.

tf2onnx writes `tf.linalg.diag` so that numbers or shapes are wrong for a dynamic batch, and `set_diag` not at
all, and TensorRT refuses `EyeLike` of a dynamic size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import static_value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Band:
    """Diagonals above each other, as TensorFlow packs them: the highest first.

    Attributes:
        values: the last dimension along a diagonal; the one before it from `high` to `low`, if these differ.
        low: the lowest diagonal; 0 is the main one, and those below it are negative.
        high: the highest diagonal.
        align: where shorter diagonals stand in their row, `LEFT_RIGHT` for example: those above the main one
            first.
    """

    values: Any
    low: int
    high: int
    align: str

    def laid_into(self, matrix: Any, rows: Any, columns: Any) -> Any:
        """Return `matrix`, of `rows` and `columns`, or of a number, with the diagonals in it."""
        row, column = tf.range(rows)[:, None], tf.range(columns)[None, :]
        for diagonal in range(self.low, self.high + 1):
            values = self.values if self.low == self.high else self.values[..., self.high - diagonal, :]
            length = _size(values, -1)
            first = self._start(diagonal, length, rows, columns)
            along = tf.range(rows) if diagonal >= 0 else tf.range(columns)
            placed = tf.gather(values, tf.clip_by_value(along + first, 0, length - 1), axis=-1)
            placed = tf.expand_dims(placed, -1 if diagonal >= 0 else -2)
            matrix = tf.where(tf.equal(column - row, diagonal), placed, matrix)
        return matrix

    def _start(self, diagonal: int, longest: Any, rows: Any, columns: Any) -> Any:
        """Return the position in its row at which a diagonal starts."""
        above, below = self.align.split("_")
        if self.low == self.high or (above if diagonal >= 0 else below) == "LEFT":
            return 0
        length = tf.minimum(rows + min(diagonal, 0), columns - max(diagonal, 0))
        return longest - length


@rewrites("MatrixDiag", "MatrixDiagV2", "MatrixDiagV3")
def matrix_diag(site: Site) -> list[Any] | None:
    """Return matrices with the given diagonals, of the given size or the smallest."""
    if len(site.inputs) == 1:
        band = _Band(values=site.inputs[0], low=0, high=0, align="LEFT_LEFT")
        size = _size(site.inputs[0], -1)
        return [band.laid_into(tf.zeros((), site.inputs[0].dtype), size, size)]
    known_band = _band(site, site.inputs[0], site.inputs[1])
    sizes = [static_value(tensor) for tensor in site.inputs[2:4]]
    if known_band is None or any(size is None for size in sizes):
        return None
    wanted = [int(size.reshape(-1)[0]) for size in sizes]
    longest = _size(site.inputs[0], -1)
    least = [longest - min(known_band.high, 0), longest + max(known_band.low, 0)]
    if wanted == [-1, -1]:
        least = [longest + max(0, -known_band.high, known_band.low)] * 2
    rows, columns = (
        given if given != -1 else smallest for given, smallest in zip(wanted, least, strict=True)
    )
    return [known_band.laid_into(site.inputs[4], rows, columns)]


@rewrites("MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3")
def matrix_set_diag(site: Site) -> list[Any] | None:
    """Return the matrices with other diagonals."""
    matrix, diagonal, *which = site.inputs
    band = _band(site, diagonal, which[0] if which else tf.constant(0))
    if band is None:
        return None
    laid = band.laid_into(matrix, _size(matrix, -2), _size(matrix, -1))
    laid.set_shape(site.op.outputs[0].shape)
    return [laid]


def _band(site: Site, values: Any, which: Any) -> _Band | None:
    known = static_value(which)
    if known is None:
        return None
    low, high = int(known.reshape(-1)[0]), int(known.reshape(-1)[-1])
    align = site.attr("align").decode() if site.op.type.endswith("V3") else "LEFT_LEFT"
    return _Band(values=values, low=low, high=high, align=align)


def _size(tensor: Any, axis: int) -> Any:
    return tf.shape(tensor)[axis] if tensor.shape[axis] is None else int(tensor.shape[axis])
