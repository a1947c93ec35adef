"""Diagonals and identities become comparisons of row and column.

tf2onnx writes `tf.linalg.diag` so that it gives wrong numbers for a dynamic batch and `set_diag` not at all,
and TensorRT refuses `EyeLike` of a dynamic size. Only the main diagonal is rewritten.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import static_value


@rewrites("MatrixDiag", "MatrixDiagV2", "MatrixDiagV3")
def matrix_diag(site: Site) -> list[Any] | None:
    """Return square matrices with the given diagonals."""
    diagonal = site.inputs[0]
    padding = tf.zeros((), diagonal.dtype)
    if len(site.inputs) > 1:
        given = [static_value(tensor) for tensor in site.inputs[1:4]]
        if any(value is None for value in given) or tuple(int(value.reshape(-1)[0]) for value in given) != (
            0,
            -1,
            -1,
        ):
            return None
        if given[0].size > 1 and given[0].reshape(-1)[1] != 0:
            return None
        padding = site.inputs[4]
    size = _size(diagonal, -1)
    return [tf.where(_on_diagonal(size, size), diagonal[..., None], padding)]


@rewrites("MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3")
def matrix_set_diag(site: Site) -> list[Any] | None:
    """Return the matrices with other diagonals."""
    matrix, diagonal = site.inputs[:2]
    if len(site.inputs) > 2:  # noqa: PLR2004 (the third says which diagonal)
        which = static_value(site.inputs[2])
        if which is None or which.any():
            return None
    rows, columns = matrix.shape[-2], matrix.shape[-1]
    if rows is None or rows != columns:
        return None  # the diagonal of another shape is shorter than a row or a column
    return [tf.where(_on_diagonal(int(rows), int(columns)), diagonal[..., None], matrix)]


def _size(tensor: Any, axis: int) -> Any:
    return tf.shape(tensor)[axis] if tensor.shape[axis] is None else int(tensor.shape[axis])


def _on_diagonal(rows: Any, columns: Any) -> Any:
    return tf.equal(tf.range(rows)[:, None], tf.range(columns)[None, :])
