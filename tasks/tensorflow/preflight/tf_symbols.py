"""Which functions of TensorFlow a layer of Keras 2 may name.

`TFOpLambda` calls whatever its configuration names while the file is loaded, even `tf.io.gfile.rmtree`.
Functions that compute are listed; all others are refused.
"""

from __future__ import annotations

import re

_COMPUTING = (
    "abs", "acos", "acosh", "add", "add_n", "argmax", "argmin", "argsort", "asin", "asinh", "atan", "atan2",
    "atanh", "batch_to_space", "bitcast", "boolean_mask", "broadcast_dynamic_shape",
    "broadcast_static_shape", "broadcast_to", "cast", "clip_by_global_norm", "clip_by_norm",
    "clip_by_value", "complex", "concat", "constant", "convert_to_tensor", "cos", "cosh", "cumsum",
    "divide", "dynamic_partition", "dynamic_stitch", "edit_distance", "eig", "eigvals", "einsum",
    "ensure_shape", "equal", "exp", "expand_dims", "extract_volume_patches", "eye", "fill", "floor",
    "gather", "gather_nd", "greater", "greater_equal", "identity", "identity_n", "less", "less_equal",
    "linspace", "logical_and", "logical_not", "logical_or", "matmul", "matrix_square_root", "maximum",
    "meshgrid", "minimum", "multiply", "negative", "norm", "not_equal", "one_hot", "ones", "ones_like",
    "pad", "pow", "range", "rank", "realdiv", "reduce_all", "reduce_any", "reduce_logsumexp", "reduce_max",
    "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "repeat", "reshape", "reverse",
    "reverse_sequence", "roll", "round", "saturate_cast", "scalar_mul", "scatter_nd", "searchsorted",
    "sequence_mask", "shape", "shape_n", "sigmoid", "sign", "sin", "sinh", "size", "slice", "sort",
    "space_to_batch", "space_to_batch_nd", "split", "sqrt", "square", "squeeze", "stack", "stop_gradient",
    "strided_slice", "subtract", "tan", "tanh", "tensor_scatter_nd_add", "tensor_scatter_nd_max",
    "tensor_scatter_nd_min", "tensor_scatter_nd_sub", "tensor_scatter_nd_update", "tensordot", "tile",
    "transpose", "truediv", "truncatediv", "truncatemod", "unique", "unique_with_counts", "unravel_index",
    "unstack", "where", "zeros", "zeros_like",
)  # fmt: skip
_SPACES = (
    r"math(\.special)?|nn|linalg|image|signal|strings|bitwise|quantization|sparse|ragged|random|dtypes|sets"
    r"|__operators__|experimental\.numpy|keras\.(activations|backend)"
)
_ALLOWED = re.compile(rf"(compat\.v1\.)?(({_SPACES})\.\w+|{'|'.join(_COMPUTING)})")
_OF_A_MODULE = ("TFOpLambda", "SlicingOpLambda")
_OF_AN_OBJECT = {"ClassMethod": "method_name", "InstanceMethod": "attr_name", "InstanceProperty": "attr_name"}


def called_by(kind: str, config: object) -> str:
    """Return the function of TensorFlow that a layer of the class `kind` calls; empty if it calls none."""
    if not isinstance(config, dict):
        return ""
    if kind in _OF_AN_OBJECT:
        return f"{config.get('cls_symbol', 'Tensor')}.{config.get(_OF_AN_OBJECT[kind])}"
    return str(config.get("function")) if kind in _OF_A_MODULE else ""


def computes(symbol: str) -> bool:
    """Return whether the function `symbol` of TensorFlow computes, and does nothing else."""
    return _ALLOWED.fullmatch(symbol) is not None
