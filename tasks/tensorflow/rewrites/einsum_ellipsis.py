"""`...` in the equation of an einsum becomes letters: tf2onnx takes letters alone."""

from __future__ import annotations

import string
from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites

_DOTS = "..."


@rewrites("Einsum")
def einsum(site: Site) -> list[Any] | None:
    """Return the product by an equation with a letter per dimension; the ranks must be known."""
    equation = site.attr("equation").decode().replace(" ", "")
    if _DOTS not in equation or any(tensor.shape.rank is None for tensor in site.inputs):
        return None
    left, right = equation.split("->")
    free = [letter for letter in string.ascii_letters if letter not in equation]
    hidden = [
        tensor.shape.rank - len(term.replace(_DOTS, "")) if _DOTS in term else 0
        for tensor, term in zip(site.inputs, left.split(","), strict=True)
    ]
    letters = "".join(free[: max(hidden)])
    terms = [
        term.replace(_DOTS, letters[len(letters) - count :])
        for term, count in zip(left.split(","), hidden, strict=True)
    ]
    written = f"{','.join(terms)}->{right.replace(_DOTS, letters)}"
    return [tf.raw_ops.Einsum(inputs=list(site.inputs), equation=written)]
