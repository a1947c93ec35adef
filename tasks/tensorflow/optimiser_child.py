"""Child: passes of tf2onnx's own optimiser that change what a graph computes, made right.

Two reshapes become one, although a 0 in the second one's shape copies a size of what the first one made
(tensorflow-onnx #2085). And a cast to an integer before a cast to bool is taken out, although 0.5 is no 0.
"""

from __future__ import annotations

from typing import Any

from onnx import TensorProto
from tf2onnx.optimizer import back_to_back_optimizer

_HANDLERS = back_to_back_optimizer._func_map  # noqa: SLF001 (there is no public way)
_join_reshapes = _HANDLERS["Reshape",]
_join_casts = _HANDLERS["Cast",]


def _reshapes(graph: Any, node: Any, consumers: list[Any]) -> list[str]:
    for reader in consumers:
        shape = reader.inputs[1]
        if not shape.is_const() or 0 in shape.get_tensor_value(as_list=False):
            return []
    joined: list[str] = _join_reshapes(graph, node, consumers)
    return joined


def _casts(graph: Any, node: Any, consumers: list[Any]) -> list[str]:
    if any(reader.get_attr_int("to") == TensorProto.BOOL for reader in consumers):
        return []
    joined: list[str] = _join_casts(graph, node, consumers)
    return joined


def correct_passes() -> None:
    """Let tf2onnx's optimiser leave such pairs as they are, in this process."""
    _HANDLERS["Reshape",] = _reshapes
    _HANDLERS["Cast",] = _casts
