"""The work of each convolution and matrix product: ten small filters may be less than one layer."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from onnx import ModelProto, NodeProto, shape_inference

PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})


def multiply_adds(model: ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[int, int]:
    """Return the multiply-adds of each product in the main graph, by the node's index.

    If a shape depends on values, so that it is unknown, they are those for one output position.

    Args:
        model: the graph.
        shapes: the shapes of its inputs.
    """
    fixed = ModelProto()
    fixed.CopyFrom(model)
    for value in (*fixed.graph.input, *fixed.graph.output):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.Clear()
            if value.name in shapes:
                dim.dim_value = shapes[value.name][axis]
    del fixed.graph.value_info[:]
    graph = shape_inference.infer_shapes(fixed, data_prop=True).graph
    dimensions = {
        value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    dimensions |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    return {
        index: _work_of_node(node, dimensions)
        for index, node in enumerate(graph.node)
        if node.op_type in PRODUCTS
    }


def _work_of_node(node: NodeProto, dimensions: Mapping[str, list[int]]) -> int:
    first, second, result = (dimensions.get(name) or [1] for name in (*node.input[:2], node.output[0]))
    if node.op_type == "ConvTranspose":
        return prod(first) * prod(second[1:])
    if node.op_type == "Conv":
        return prod(result) * prod(second[1:])
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return prod(result) * (first[0] if turned else first[-1])
