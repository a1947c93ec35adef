"""Elementwise functions that are exact near zero and that ONNX lacks.

`Log1p` (features of recommenders, mel spectra), `Expm1` (CELU), and the products and quotients that are 0
where one side is 0 (cross entropies, masked means).
"""

from __future__ import annotations

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites


@rewrites("Log1p")
def log1p(site: Site) -> list[tf.Tensor]:
    """Return log(1 + x)."""
    return [_log_of_one_plus(site.inputs[0])]


@rewrites("Expm1")
def expm1(site: Site) -> list[tf.Tensor]:
    """Return exp(x) - 1 as tanh(x / 2) (exp(x) + 1), which cancels nothing near 0."""
    (x,) = site.inputs
    return [tf.tanh(x / 2) * (tf.exp(x) + 1)]


@rewrites("Xlogy", "Xlog1py", "Xdivy", "MulNoNan")
def zero_where_zero(site: Site) -> list[tf.Tensor]:
    """Return x log(y), x log(1 + y), x / y or x y; 0 where x (for `MulNoNan`: y) is 0."""
    x, y = site.inputs
    decides = y if site.op.type == "MulNoNan" else x
    is_zero = tf.equal(decides, 0)
    safe = tf.where(is_zero, tf.ones((), y.dtype), y)
    value = {
        "Xlogy": lambda: x * tf.math.log(safe),
        "Xlog1py": lambda: x * _log_of_one_plus(safe),
        "Xdivy": lambda: x / safe,
        "MulNoNan": lambda: x * safe,
    }[site.op.type]()
    zero = tf.zeros((), value.dtype) if decides is y else x  # whose sign stays
    return [tf.where(is_zero, zero, value)]


def _log_of_one_plus(x: tf.Tensor) -> tf.Tensor:
    """Return log(1 + x), exact where 1 + x rounds: the factor cancels the rounding of 1 + x.

    The factor is 1 where nothing is rounded, infinity included: infinity over itself is not a number.
    """
    unit = tf.ones((), x.dtype)
    above = x + unit
    step = above - unit
    vanishes = tf.equal(step, 0)
    factor = tf.where(tf.equal(step, x), unit, x / tf.where(vanishes, unit, step))
    return tf.where(vanishes, x, tf.math.log(above) * factor)
