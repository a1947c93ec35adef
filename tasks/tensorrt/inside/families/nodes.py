"""The node of a parser error, from TensorRT 10 on."""

from __future__ import annotations

from typing import Any

from tasks.tensorrt.inside.options import Node


def named_node(error: Any) -> Node:
    """Return the node that the parser names in `error`."""
    return Node(name=error.node_name(), op=error.node_operator())
