"""Child: corrects passes of tf2onnx's own optimiser that change what a graph computes.

It joins two reshapes, although a 0 in the second shape copies a size of the first result (tensorflow-onnx
#2085). And it removes a cast to an integer before a cast to bool, although 0.5 is not 0.
"""

from __future__ import annotations

from typing import Any

from onnx import TensorProto
from tf2onnx.optimizer import back_to_back_optimizer

_HANDLERS = back_to_back_optimizer._func_map  # noqa: SLF001 (there is no public way)
_join_reshapes = _HANDLERS["Reshape",]
_join_casts = _HANDLERS["Cast",]


def _join_reshapes_without_zeros(graph: Any, node: Any, consumers: list[Any]) -> list[str]:
    for reader in consumers:
        shape = reader.inputs[1]
        if not shape.is_const() or 0 in shape.get_tensor_value(as_list=False):
            return []
    joined: list[str] = _join_reshapes(graph, node, consumers)
    return joined


def _join_casts_but_to_bool(graph: Any, node: Any, consumers: list[Any]) -> list[str]:
    if any(reader.get_attr_int("to") == TensorProto.BOOL for reader in consumers):
        return []
    joined: list[str] = _join_casts(graph, node, consumers)
    return joined


def correct_passes() -> None:
    """Let tf2onnx's optimiser leave these pairs as they are, in this process."""
    _HANDLERS["Reshape",] = _join_reshapes_without_zeros
    _HANDLERS["Cast",] = _join_casts_but_to_bool
