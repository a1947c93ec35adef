"""Fake quantisation of quantisation-aware training becomes the arithmetic that it is.

tf2onnx writes QuantizeLinear and DequantizeLinear with a zero point, which TensorRT refuses, and has no form
per channel. The numbers are the same; which precision the engine computes in is for the request to say.
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
    steps = tf.floor((tf.minimum(tf.maximum(x, bottom), top) - bottom) / scale + 0.5)
    return [tf.where(tf.equal(high - low, 0), tf.zeros_like(x), steps * scale + bottom)]
