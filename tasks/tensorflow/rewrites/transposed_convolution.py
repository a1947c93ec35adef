"""Transposed convolutions whose result is longer than their kernel covers: strides above the kernel's size.

tf2onnx writes the missing lines as negative padding, half of it at each end, which ONNX does not allow.
TensorFlow adds them, without a contribution, at the end: that is ONNX's `output_padding`.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import helper


def with_output_padding(nodes: Iterable[onnx.NodeProto]) -> None:
    """Change negative paddings of ONNX `nodes` to paddings of the output, in place."""
    for node in nodes:
        pads = next((attribute for attribute in node.attribute if attribute.name == "pads"), None)
        if node.op_type != "ConvTranspose" or pads is None or min(pads.ints) >= 0:
            continue
        axes = len(pads.ints) // 2
        totals = [pads.ints[axis] + pads.ints[axis + axes] for axis in range(axes)]
        missing = [max(-total, 0) for total in totals]
        for axis, total in enumerate(totals):
            if total < 0:
                pads.ints[axis] = pads.ints[axis + axes] = 0
        node.attribute.append(helper.make_attribute("output_padding", missing))
