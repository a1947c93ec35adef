"""An einsum of two tensors becomes one matrix product, and `...` in an equation becomes letters.

tf2onnx takes only letters. It flattens the batch dimensions of a product by reshapes to sizes that are
computed at run time; from that graph TensorRT 8.6 builds attention with wrong numbers, without a warning
(Keras' MultiHeadAttention on an H100: off by 0.4 to 1.3 of the largest output).
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Pair, Site, rewrites
from tasks.tensorflow.rewrites.spectra import product

_DOTS = "..."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    """Letters of `left,right->result` by their role in a matrix product.

    Attributes:
        batch: in all three, in the result's order.
        rows: in the left operand and the result; at most one letter.
        inner: in both operands, and summed; one letter.
        columns: in the right operand and the result; at most one letter.
    """

    batch: str
    rows: str
    inner: str
    columns: str


@rewrites("Einsum")
def einsum(site: Site) -> list[Any] | None:
    """Return the matrix product, or the einsum by an equation with a letter per dimension.

    The einsum stays as it is if a rank is unknown, or if it has only letters and is no single matrix product.
    """
    equation = site.attr("equation").decode().replace(" ", "")
    if any(isinstance(value, Pair) for value in site.inputs):
        return _complex_einsum(site.inputs, equation)
    if any(tensor.shape.rank is None for tensor in site.inputs):
        return None
    return _einsum(site.inputs, equation)


def _complex_einsum(inputs: Any, equation: str) -> list[Any] | None:
    """Return an einsum of complex numbers, by einsums of their parts."""
    parts = [part for value in inputs for part in value]
    if len(inputs) > 2 or any(part.shape.rank is None for part in parts):  # noqa: PLR2004 (a product)
        return None

    def real(*operands: Any) -> Any:
        results = _einsum(operands, equation)
        return tf.raw_ops.Einsum(inputs=operands, equation=equation) if results is None else results[0]

    first, *others = inputs
    return [product(first, others[0], real) if others else Pair(*map(real, first))]


def _einsum(inputs: Any, equation: str) -> list[Any] | None:
    written = _with_letters(equation, [tensor.shape.rank for tensor in inputs])
    terms, result = written.split("->")[0].split(","), written.split("->")[1]
    shape = _product(terms, result)
    if shape is not None:
        return [_multiplied(inputs, terms, result, shape)]
    return None if written == equation else [tf.raw_ops.Einsum(inputs=list(inputs), equation=written)]


def _with_letters(equation: str, ranks: list[int]) -> str:
    left, right = equation.split("->")
    free = [letter for letter in string.ascii_letters if letter not in equation]
    terms = left.split(",")
    hidden = [
        rank - len(term.replace(_DOTS, "")) if _DOTS in term else 0
        for rank, term in zip(ranks, terms, strict=True)
    ]
    letters = "".join(free[: max(hidden)])
    written = [
        term.replace(_DOTS, letters[len(letters) - count :])
        for term, count in zip(terms, hidden, strict=True)
    ]
    return f"{','.join(written)}->{right.replace(_DOTS, letters)}"


def _product(terms: list[str], result: str) -> _Product | None:
    """Return how `terms` make one matrix product; None if they do not."""
    if len(terms) != 2 or any(len(set(term)) != len(term) for term in (*terms, result)):  # noqa: PLR2004
        return None
    left, right = terms
    both = [letter for letter in left if letter in right]
    inner = "".join(letter for letter in both if letter not in result)
    batch = "".join(letter for letter in result if letter in both)
    rows, columns = (
        "".join(letter for letter in result if letter in set(term) - set(both)) for term in terms
    )
    summed_alone = len(left) + len(right) != len(result) + len(batch) + 2 * len(inner)
    if summed_alone or len(inner) != 1 or len(rows) > 1 or len(columns) > 1:
        return None
    return _Product(batch=batch, rows=rows, inner=inner, columns=columns)


def _multiplied(operands: Any, terms: list[str], result: str, shape: _Product) -> Any:
    left = _ordered(operands[0], terms[0], shape.batch + shape.rows + shape.inner)
    right = _ordered(operands[1], terms[1], shape.batch + shape.inner + shape.columns)
    left = left if shape.rows else left[..., None, :]
    right = right if shape.columns else right[..., None]
    product = tf.matmul(left, right)
    added = [axis for axis, letter in ((-2, shape.rows), (-1, shape.columns)) if not letter]
    product = tf.squeeze(product, added) if added else product
    return _ordered(product, shape.batch + shape.rows + shape.columns, result)


def _ordered(tensor: Any, letters: str, order: str) -> Any:
    if letters == order:
        return tensor
    return tf.transpose(tensor, [letters.index(letter) for letter in order])
