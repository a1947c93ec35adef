"""Diagonals and identities become comparisons of row and column.

tf2onnx converts `tf.linalg.diag` with wrong numbers or shapes for a dynamic batch, and does not convert
`set_diag`. TensorRT refuses `EyeLike` of a dynamic size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.plain_forms import choose
from tasks.tensorflow.rewrites.rules import Site, refuse, rewrites
from tasks.tensorflow.rewrites.values import static_value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Band:
    """Adjacent diagonals, as TensorFlow packs them: the highest first.

    Attributes:
        values: the last dimension runs along a diagonal, the dimension before it from `high` to `low` if
            these differ.
        low: the lowest diagonal; the main diagonal is 0, and those below it are negative.
        high: the highest diagonal.
        align: at which end of their row shorter diagonals are stored, for example `LEFT_RIGHT`: first for
            those above the main diagonal, then for those below.
    """

    values: Any
    low: int
    high: int
    align: str

    def written_into(self, matrix: Any, rows: Any, columns: Any) -> Any:
        """Return `matrix`, a number or of `rows` by `columns`, with the diagonals written into it."""
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
        """Return the index at which a diagonal starts in its row."""
        above, below = self.align.split("_")
        if self.low == self.high or (above if diagonal >= 0 else below) == "LEFT":
            return 0
        length = tf.minimum(rows + min(diagonal, 0), columns - max(diagonal, 0))
        return longest - length


@rewrites("MatrixDiag", "MatrixDiagV2", "MatrixDiagV3")
def matrix_diag(site: Site) -> list[Any] | None:
    """Return matrices with the given diagonals, of the given size or the smallest that fits."""
    if len(site.inputs) == 1:
        band = _Band(values=site.inputs[0], low=0, high=0, align="LEFT_LEFT")
        size = _size(site.inputs[0], -1)
        return [band.written_into(tf.zeros((), site.inputs[0].dtype), size, size)]
    packed = _band(site, site.inputs[0], site.inputs[1])
    sizes = [static_value(tensor) for tensor in site.inputs[2:4]]
    if any(size is None for size in sizes):
        return None
    given_sizes = [int(size.reshape(-1)[0]) for size in sizes]
    longest = _size(site.inputs[0], -1)
    smallest_sizes = [longest - min(packed.high, 0), longest + max(packed.low, 0)]
    if given_sizes == [-1, -1]:
        smallest_sizes = [longest + max(0, -packed.high, packed.low)] * 2
    rows, columns = (
        given if given != -1 else smallest
        for given, smallest in zip(given_sizes, smallest_sizes, strict=True)
    )
    return [packed.written_into(site.inputs[4], rows, columns)]


@rewrites("MatrixBandPart")
def band_part(site: Site) -> list[Any]:
    """Return the matrices with 0 outside a band; tf2onnx multiplies by 0, which makes NaN of infinity."""
    x, below, above = site.inputs
    below, above = tf.cast(below, tf.int32), tf.cast(above, tf.int32)
    ahead = tf.range(_size(x, -1)) - tf.range(_size(x, -2))[:, None]
    inside = ((below < 0) | (-ahead <= below)) & ((above < 0) | (ahead <= above))
    return [choose(inside, x, tf.zeros((), x.dtype))]


@rewrites("MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3")
def matrix_set_diag(site: Site) -> list[Any] | None:
    """Return the matrices with their diagonals replaced."""
    matrix, diagonal, *offsets = site.inputs
    band = _band(site, diagonal, offsets[0] if offsets else tf.constant(0))
    result = band.written_into(matrix, _size(matrix, -2), _size(matrix, -1))
    result.set_shape(site.op.outputs[0].shape)
    return [result]


def _band(site: Site, values: Any, offsets: Any) -> _Band:
    fixed_offsets = static_value(offsets)
    if fixed_offsets is None:
        refuse(site)  # tf2onnx writes an If whose results have no shape
    low, high = int(fixed_offsets.reshape(-1)[0]), int(fixed_offsets.reshape(-1)[-1])
    align = site.attr("align").decode() if site.op.type.endswith("V3") else "LEFT_LEFT"
    return _Band(values=values, low=low, high=high, align=align)


def _size(tensor: Any, axis: int) -> Any:
    return tf.shape(tensor)[axis] if tensor.shape[axis] is None else int(tensor.shape[axis])
