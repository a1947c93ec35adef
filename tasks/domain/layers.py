"""From the name of a graph's node to its layer. Also runs in toolchains: Python 3.10."""

from __future__ import annotations

import re

# What the call of a signature puts before a name, and what tf2onnx puts before names in loop bodies.
_CALL = re.compile(r"((Stateful)?PartitionedCall(_\d+)?|Func|serving_default\w*|input|output)")
_BODY = re.compile(r"__inference_\w*?_\d{2,}(_\d+)?_")


def layer_of(node: str) -> str | None:
    """Return the layer (or name scope) of `node`, outermost first; None if it is in no layer.

    TensorFlow names a node after its enclosing layers, then after its operation:
    `StatefulPartitionedCall/encoder_1/attention_1/Softmax` belongs to the layer `encoder_1/attention_1`.
    Keras numbers the calls of a layer at the end of its name.
    """
    parts = _BODY.sub("", node).split("/")
    while parts and _CALL.fullmatch(parts[0]):
        del parts[0]
    return "/".join(parts[:-1]) or None


def placed(node: str) -> str:
    """Return the place of `node` for messages: its layer, if its name has one, and its name."""
    layer = layer_of(node)
    return f"node {node}" if layer is None else f"layer {layer}, node {node}"
