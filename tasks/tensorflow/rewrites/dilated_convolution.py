"""Dilated convolution written as SpaceToBatchND, convolution, BatchToSpaceND becomes one dilated convolution.

TensorFlow writes this pattern if its own kernels cannot dilate: in one dimension, depthwise, and with unequal
rates. With a dynamic length the padding is computed at run time, and TensorRT refuses that: "only constant
zero padding for slicing a shape tensor". tf2onnx folds the pattern back only if every number in it is
constant or nothing is padded.

Part of the padding only fills up blocks and is cropped again after the convolution. The rest does not depend
on the length. So the arithmetic is run here for lengths of every remainder, and the padding that remains must
be the same for all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites
from tasks.tensorflow.rewrites.values import run_for_sizes, static_value

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative", "Conv3D")
_LARGEST_BLOCK = 64
_Padding = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@rewrites("BatchToSpaceND")
def dilated_convolution(site: Site) -> list[Any] | None:
    """Return the dilated convolution if the operation ends the pattern."""
    inner = site.inputs[0].op
    squeezed = inner if inner.type == "Squeeze" else None
    convolution = inner.inputs[0].op if squeezed is not None else inner
    if convolution.type not in _CONVOLUTIONS or not _is_plain(convolution):
        return None
    before = convolution.inputs[0].op
    expanded = before if before.type == "ExpandDims" else None
    start = before.inputs[0].op if expanded is not None else before
    if start.type != "SpaceToBatchND" or (expanded is None) != (squeezed is None):
        return None
    blocks, blocks_after = static_value(start.inputs[1]), static_value(site.inputs[1])
    if blocks is None or not np.array_equal(blocks, blocks_after) or max(blocks) > _LARGEST_BLOCK:
        return None
    padding = _remaining_padding(start.inputs[2], site.inputs[2], int(max(blocks)))
    if padding is None:
        return None
    axis = None if expanded is None else _added_axis(expanded, squeezed)
    if axis == -1:
        return None
    return [_convolved(start.inputs[0], convolution, list(blocks), padding, axis)]


def _is_plain(convolution: Any) -> bool:
    plain = set(convolution.get_attr("strides")) == set(convolution.get_attr("dilations")) == {1}
    data_format = convolution.get_attr("data_format")
    return plain and convolution.get_attr("padding") == b"VALID" and data_format in (b"NHWC", b"NDHWC")


def _added_axis(expanded: Any, squeezed: Any) -> int:
    """Return the axis that was added around the convolution and removed again; -1 if that is unclear."""
    axis = static_value(expanded.inputs[1])
    rank = expanded.outputs[0].shape.rank
    if axis is None or rank is None:
        return -1
    axis = int(axis) % rank
    removed = [dim % rank for dim in squeezed.get_attr("squeeze_dims")]
    return axis if removed == [axis] and 0 < axis < rank - 1 else -1


def _convolved(x: Any, convolution: Any, blocks: list[int], padding: _Padding, axis: int | None) -> Any:
    spatial = convolution.outputs[0].shape.rank - 2
    sides = [[int(low), int(high)] for low, high in zip(*padding, strict=True)]
    rates = [int(block) for block in blocks]
    if axis is not None:
        x = tf.expand_dims(x, axis)
        sides.insert(axis - 1, [0, 0])
        rates.insert(axis - 1, 1)
    rest = spatial - len(rates)
    pads = [[0, 0], *sides, *([[0, 0]] * rest), [0, 0]]
    dilations = [1, *rates, *([1] * rest), 1]
    kernel, ones = convolution.inputs[1], [1] * (spatial + 2)
    if convolution.type == "Conv3D":  # has no explicit paddings
        y = tf.raw_ops.Conv3D(
            input=tf.pad(x, pads), filter=kernel, strides=ones, padding="VALID", dilations=dilations
        )
    else:
        build = getattr(tf.raw_ops, convolution.type)
        flat = [side for both in pads for side in both]
        y = build(
            input=x, filter=kernel, strides=ones, padding="EXPLICIT", explicit_paddings=flat,
            dilations=dilations,
        )  # fmt: skip
    return y if axis is None else tf.squeeze(y, [axis])


def _remaining_padding(paddings: Any, crops: Any, block: int) -> _Padding | None:
    """Return the padding of each side that remains; None if it depends on the length or is unknown."""
    remaining: set[tuple[int, ...]] = set()
    for added, cut in run_for_sizes([paddings, crops], range(1, 2 * block + 1)):
        if cut[:, 0].any():
            return None
        remaining.add((*added[:, 0], *(added[:, 1] - cut[:, 1])))
    if len(remaining) != 1:
        return None
    (only,) = remaining
    low, high = np.split(np.asarray(only, np.int64), 2)
    return (low, high) if min(only) >= 0 else None
