"""The table of rewrites, and their arguments: an operation, its inputs, and pairs for complex numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, TypeAlias

from tasks.domain.errors import OperationUnsupported
from tasks.domain.layers import placed
from tasks.tensorflow.preflight.graph_rules import nearest_fix


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


def refuse(site: Site) -> NoReturn:
    """Refuse an operation that tf2onnx would convert to a different operation.

    Raises:
        OperationUnsupported: always; the error names the layer.
    """
    raise OperationUnsupported(
        wanted="an ONNX form with the same numbers",
        found=f"{site.op.type} ({placed(site.op.name)}) with inputs or attributes that have no such form",
        fix=nearest_fix(site.op.type),
    )


def _first_that_applies(first: Rewrite, second: Rewrite) -> Rewrite:
    def rewrite(site: Site) -> Sequence[Any] | None:
        results = first(site)
        return second(site) if results is None else results

    return rewrite


def rewrites(*ops: str) -> Callable[[Rewrite], Rewrite]:
    """Register the decorated function for the operations `ops`, after those that were registered before."""

    def register(rewrite: Rewrite) -> Rewrite:
        for op in ops:
            RULES[op] = _first_that_applies(RULES[op], rewrite) if op in RULES else rewrite
        return rewrite

    return register
