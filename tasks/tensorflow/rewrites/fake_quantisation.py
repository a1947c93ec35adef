"""Fake quantisation of quantisation-aware training becomes the arithmetic that it stands for.

tf2onnx writes QuantizeLinear and DequantizeLinear with a zero point, which TensorRT refuses. It has no form
per channel, and takes -128 for a step of every range. The numbers stay the same; the request decides in which
precision the engine computes.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites


@rewrites("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel")
def fake_quant(site: Site) -> list[Any]:
    """Return the values rounded to the steps of the quantisation, as TensorFlow's kernel does it."""
    x = site.inputs[0]
    if site.op.type == "FakeQuantWithMinMaxArgs":
        low, high = tf.constant(site.attr("min")), tf.constant(site.attr("max"))
    else:
        low, high = site.inputs[1:]
    smallest = 1.0 if site.attr("narrow_range") else 0.0
    largest = float(2 ** site.attr("num_bits") - 1)
    scale = (high - low) / (largest - smallest)
    # The range is moved so that 0 is one of its steps.
    zero = tf.clip_by_value(tf.floor(smallest - low / scale + 0.5), smallest, largest)
    bottom, top = (smallest - zero) * scale, (largest - zero) * scale
    # A product rounds halves between two steps as TensorFlow does; a quotient would round some differently.
    steps = tf.floor((tf.minimum(tf.maximum(x, bottom), top) - bottom) * (1 / scale) + 0.5)
    return [tf.where(tf.equal(high - low, 0), tf.zeros_like(x), steps * scale + bottom)]


@rewrites("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV4")
def quantize_and_dequantize(site: Site) -> list[Any] | None:
    """Return the values rounded to the steps of their range, which reaches equally far on both sides of 0."""
    x, axis, given = site.inputs[0], site.attr("axis"), site.attr("range_given")
    if x.shape.rank is None or (axis != -1 and not given):
        return None
    low, high = site.inputs[1:3] if given else (tf.reduce_min(x), tf.reduce_max(x))
    if axis != -1:
        sides = [-1 if dim == axis else 1 for dim in range(x.shape.rank)]
        low, high = tf.reshape(low, sides), tf.reshape(high, sides)
    bits, signed = site.attr("num_bits"), site.attr("signed_input")
    top = float(2 ** (bits - 1) - 1 if signed else 2**bits - 1)
    bottom = (-top if site.attr("narrow_range") else -top - 1) if signed else 0.0
    step = tf.maximum(high / top, low / bottom) if signed else high / top
    step = tf.maximum(step, tf.constant(1e-37, x.dtype))
    steps = tf.clip_by_value(x, bottom * step, top * step) * (1 / step)
    rounded = tf.floor(steps + 0.5) if site.attr("round_mode") == b"HALF_UP" else tf.round(steps)
    return [rounded * step]
