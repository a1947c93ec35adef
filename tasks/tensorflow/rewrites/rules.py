"""The table of rewrites, and what they need: static values, and complex numbers as pairs of real tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf


class Pair(NamedTuple):
    """A complex tensor as two real ones: ONNX operations take no complex numbers."""

    real: Any
    imag: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An operation to rewrite.

    Attributes:
        op: the `tf.Operation`.
        inputs: its inputs as the rewritten graph has them: tensors, and pairs for complex numbers.
        tables: keys and values of lookup tables as NumPy arrays, by the name of the table's tensor.
    """

    op: Any
    inputs: Sequence[Any]
    tables: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def attr(self, name: str) -> Any:
        """Return an attribute of the operation."""
        return self.op.get_attr(name)


Rewrite: TypeAlias = Callable[[Site], "Sequence[Any] | None"]

RULES: dict[str, Rewrite] = {}


def rewrites(*ops: str) -> Callable[[Rewrite], Rewrite]:
    """Register the decorated function for the operations `ops`."""

    def register(rewrite: Rewrite) -> Rewrite:
        for op in ops:
            if op in RULES:
                raise ValueError(f"two rewrites of {op}")
            RULES[op] = rewrite
        return rewrite

    return register


def static_value(tensor: Any) -> Any:
    """Return the value of `tensor` as a NumPy array; None where it is not known now.

    Large constants are not in the graph while it is rewritten, and so are not known either.
    """
    try:
        return tf.get_static_value(tensor)
    except ValueError:  # the constant's bytes were taken out
        return None


def static_shape(tensor: Any) -> tuple[int, ...] | None:
    """Return the shape of `tensor`; None where a dimension varies."""
    shape = tensor.shape
    return tuple(shape.as_list()) if shape.is_fully_defined() else None
