"""Maxima, minima and means on values and sizes at which ONNX promises nothing.

TensorFlow's maximum of numbers with NaN among them is NaN; onnxruntime leaves NaN out, so that a pooled
feature looked sound. The mean of nothing is NaN, and 0 in onnxruntime: a window behind the end of a short
sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Pair, Site, rewrites
from tasks.tensorflow.rewrites.values import static_value


@rewrites("Max", "Min")
def extreme(site: Site) -> list[Any] | None:
    """Return the maximum or minimum; NaN if any element is NaN."""
    x, axes = site.inputs
    if not x.dtype.is_floating:
        return None
    reduce = tf.reduce_max if site.op.type == "Max" else tf.reduce_min
    return [with_nan(reduce, x, axes, keepdims=site.attr("keep_dims"))]


def with_nan(reduce: Callable[..., Any], x: Any, axes: Any, *, keepdims: bool = False) -> Any:
    """Return what `reduce` makes of the floats `x`; NaN if any element is NaN."""
    has_nan = tf.reduce_any(tf.math.is_nan(x), axes, keepdims=keepdims)
    return tf.where(has_nan, tf.constant(np.nan, x.dtype), reduce(x, axes, keepdims=keepdims))


@rewrites("Mean")
def mean(site: Site) -> list[Any] | None:
    """Return the mean; NaN if there is nothing to take it of."""
    x, axes = site.inputs
    if isinstance(x, Pair) or not x.dtype.is_floating or not _may_be_empty(x, static_value(axes)):
        return None
    reduced = tf.raw_ops.Mean(input=x, axis=axes, keep_dims=site.attr("keep_dims"))
    count = tf.reduce_prod(tf.gather(tf.shape(x), tf.reshape(axes, [-1])))
    return [tf.where(tf.equal(count, 0), tf.constant(np.nan, x.dtype), reduced)]


_KEEP_ELEMENTS = frozenset(
    {"Abs", "Add", "AddV2", "BatchMatMul", "BatchMatMulV2", "BiasAdd", "Cast", "ConcatV2", "Elu", "Erf",
     "Exp", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Identity", "LeakyRelu", "Log",
     "LogSoftmax", "MatMul", "Maximum", "Minimum", "Mul", "Neg", "Pack", "Pow", "RealDiv", "Relu", "Relu6",
     "Rsqrt", "Selu",
     "Sigmoid", "Softmax", "Softplus", "Softsign", "Sqrt", "Square", "SquaredDifference", "Squeeze", "Sub",
     "Tanh"}
)  # fmt: skip
"""Operations whose result is not empty if none of their inputs is."""
_FIRST_ONLY = frozenset({"Cumsum", "ExpandDims", "MirrorPad", "Pad", "PadV2", "Reshape", "Transpose"})
"""Likewise, but only the first input holds elements."""
_WINDOWS = frozenset(
    {"AvgPool", "AvgPool3D", "Conv2D", "Conv3D", "DepthwiseConv2dNative", "MaxPool", "MaxPool3D"}
)


def _may_be_empty(x: Any, axes: Any) -> bool:
    """Return whether one of `axes` may have size 0. Inputs of a model have at least 1."""
    if x.shape.rank is not None and axes is not None:
        sizes = [x.shape[int(axis)] for axis in np.reshape(axes, -1)]
        if all(sizes):
            return False
    pending, seen = [x], set[str]()
    while pending:
        tensor = pending.pop()
        op = tensor.op
        if tensor.name in seen or op.type in ("Placeholder", "Const"):
            continue
        seen.add(tensor.name)
        if tensor.shape.rank is not None and all(tensor.shape.as_list()):
            continue
        if op.type in _FIRST_ONLY or (op.type in _WINDOWS and op.get_attr("padding") == b"SAME"):
            pending.append(op.inputs[0])
        elif op.type in _KEEP_ELEMENTS:
            pending += op.inputs
        else:
            return True
    return False
