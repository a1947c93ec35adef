"""From the name of a graph's node to the layer that made it. Also runs in toolchains: Python 3.10."""

from __future__ import annotations

import re

# What calling a signature puts before a name, and what tf2onnx puts before names in bodies of loops.
_CALL = re.compile(r"((Stateful)?PartitionedCall(_\d+)?|Func|serving_default\w*|input|output)")
_BODY = re.compile(r"__inference_\w*?_\d{2,}(_\d+)?_")


def layer_of(node: str) -> str | None:
    """Return the layer (or name scope) in which `node` was made, outermost first; None if it is in none.

    TensorFlow names a node by the layers that it lies in, and then by its operation:
    `StatefulPartitionedCall/encoder_1/attention_1/Softmax` is of the layer `encoder_1/attention_1`. Keras
    counts the calls of a layer at the end of its name.
    """
    parts = _BODY.sub("", node).split("/")
    while parts and _CALL.fullmatch(parts[0]):
        del parts[0]
    return "/".join(parts[:-1]) or None


def placed(node: str) -> str:
    """Return for messages where `node` is: its layer, where its name tells it, and its name."""
    layer = layer_of(node)
    return f"node {node}" if layer is None else f"layer {layer}, node {node}"
