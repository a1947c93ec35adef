"""Exact GELU in `Erfc`, which ONNX lacks: erfc(x) = 1 - erf(x)."""

from __future__ import annotations

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites


@rewrites("Erfc")
def erfc(site: Site) -> list[tf.Tensor]:
    """Return 1 - erf(x)."""
    (x,) = site.inputs
    return [tf.ones((), x.dtype) - tf.math.erf(x)]
