"""Determinants and inverses of matrices up to 3 by 3, by Cramer's rule.

ONNX has no inverse, and TensorRT no determinant. Cameras, poses and homographies need them, and are small.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, refuse, rewrites

_LARGEST = 3


@rewrites("MatrixDeterminant")
def determinant(site: Site) -> list[Any]:
    """Return the determinants. No TensorRT has `Det`, as which tf2onnx writes larger ones."""
    if not _is_small(site.inputs[0]):
        refuse(site)
    return [_determinant(_entries(site.inputs[0]))]


@rewrites("LogMatrixDeterminant")
def log_determinant(site: Site) -> list[Any] | None:
    """Return sign and log of the determinants."""
    if not _is_small(site.inputs[0]):
        return None
    value = _determinant(_entries(site.inputs[0]))
    return [tf.sign(value), tf.math.log(tf.abs(value))]


@rewrites("MatrixInverse")
def inverse(site: Site) -> list[Any] | None:
    """Return the inverses, of the adjoint matrices if requested."""
    matrix = site.inputs[0]
    if not _is_small(matrix):
        return None
    return [_inverse(tf.linalg.matrix_transpose(matrix) if site.attr("adjoint") else matrix)]


@rewrites("MatrixSolve")
def solve(site: Site) -> list[Any] | None:
    """Return the solutions, by the inverses."""
    matrix, right = site.inputs
    if not _is_small(matrix):
        return None
    return [_inverse(tf.linalg.matrix_transpose(matrix) if site.attr("adjoint") else matrix) @ right]


def _is_small(matrix: Any) -> bool:
    size = matrix.shape[-1] if matrix.shape.rank else None
    return size is not None and size == matrix.shape[-2] and 1 <= size <= _LARGEST


def _entries(matrix: Any) -> list[list[Any]]:
    return [tf.unstack(row, axis=-1) for row in tf.unstack(matrix, axis=-2)]


def _determinant(rows: list[list[Any]]) -> Any:
    if len(rows) == 1:
        return rows[0][0]
    return tf.add_n([rows[0][column] * _cofactor(rows, 0, column) for column in range(len(rows))])


def _cofactor(rows: list[list[Any]], row: int, column: int) -> Any:
    rest = [line[:column] + line[column + 1 :] for index, line in enumerate(rows) if index != row]
    value = _determinant(rest) if rest else tf.ones_like(rows[0][0])
    return value if (row + column) % 2 == 0 else -value


def _inverse(matrix: Any) -> Any:
    rows = _entries(matrix)
    every = range(len(rows))
    adjugate = tf.stack(
        [tf.stack([_cofactor(rows, row, column) for row in every], axis=-1) for column in every], axis=-2
    )
    return adjugate / _determinant(rows)[..., None, None]
