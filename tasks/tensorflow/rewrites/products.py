"""Products that TensorRT lacks: of integers, and with a constant sparse matrix.

TensorRT multiplies only matrices of floats; integers are multiplied elementwise and summed. A sparse matrix
of constants becomes a dense matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Pair, Site, rewrites
from tasks.tensorflow.rewrites.values import static_value


@rewrites("MatMul", "BatchMatMul", "BatchMatMulV2")
def of_integers(site: Site) -> list[Any] | None:
    """Return the product of integers, as sums of products."""
    if any(isinstance(value, Pair) or value.dtype not in (tf.int32, tf.int64) for value in site.inputs):
        return None
    flags = ("transpose_a", "transpose_b") if site.op.type == "MatMul" else ("adj_x", "adj_y")
    left, right = (
        tf.linalg.matrix_transpose(value) if site.attr(flag) else value
        for value, flag in zip(site.inputs, flags, strict=True)
    )
    return [tf.reduce_sum(tf.expand_dims(left, -1) * tf.expand_dims(right, -3), -2)]


@rewrites("SparseTensorDenseMatMul")
def of_sparse_and_dense(site: Site) -> list[Any] | None:
    """Return the product with the sparse matrix as a dense matrix."""
    places, values, sizes, dense = site.inputs
    constants = [static_value(tensor) for tensor in (places, values, sizes)]
    if any(constant is None for constant in constants):
        return None
    indices, numbers, shape = constants
    matrix = np.zeros(shape, numbers.dtype)
    np.add.at(matrix, tuple(indices.T), numbers)
    return [
        tf.matmul(
            tf.constant(matrix), dense, transpose_a=site.attr("adjoint_a"), transpose_b=site.attr("adjoint_b")
        )
    ]
