"""The arithmetic that a model itself computes in, read from its graph without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.domain.request import Precision
from tasks.tensorflow.preflight.graph_reach import nodes_of_signature

# Numbers of tensorflow.DataType, the coarsest type first.
_LOW = {14: Precision.BF16, 19: Precision.FP16}
_CHANNELS_FIRST = (b"NCHW", b"NCDHW")
# They pass values on unchanged; a Cast from a low type rounds nothing, either.
_EXACT = frozenset({"Const", "Identity", "Placeholder", "ReadVariableOp", "VarHandleOp"})


def model_arithmetic(graph: Any, signature: str) -> Precision:
    """Return the coarsest of BF16, FP16 and FP32 to which an operation of `signature` rounds.

    A model that has only its inputs or weights in FP16, and casts them to FP32 before anything else, computes
    in FP32. FP64 counts as FP32: engines have no other arithmetic for it.
    """
    kinds = {kind for _, node in nodes_of_signature(graph, signature) for kind in _rounded_to(node)}
    return next((precision for kind, precision in _LOW.items() if kind in kinds), Precision.FP32)


def channels_first(graph: Any, signature: str) -> bool:
    """Return whether `signature` has an operation on pictures or volumes whose channels come first."""
    return any(
        node.attr["data_format"].s in _CHANNELS_FIRST
        for _, node in nodes_of_signature(graph, signature)
        if "data_format" in node.attr
    )


def _rounded_to(node: Any) -> Iterator[int]:
    if node.op == "Cast":
        yield node.attr["DstT"].type
    elif node.op not in _EXACT:
        yield from (value.type for value in node.attr.values())
