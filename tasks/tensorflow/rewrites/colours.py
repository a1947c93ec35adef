"""Conversion between RGB and HSV, which ONNX lacks: TensorFlow's own formulas on the three channels.

Preprocessing that was exported with a model uses them, and so do tf.image.adjust_saturation and adjust_hue.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites


@rewrites("RGBToHSV")
def rgb_to_hsv(site: Site) -> list[Any]:
    """Return hue, saturation and value, each between 0 and 1 for colours in that range."""
    return [_hsv(site.inputs[0])]


@rewrites("HSVToRGB")
def hsv_to_rgb(site: Site) -> list[Any]:
    """Return red, green and blue."""
    return [_rgb(*tf.unstack(site.inputs[0], axis=-1))]


@rewrites("AdjustSaturation")
def adjust_saturation(site: Site) -> list[Any]:
    """Return the images with the saturation multiplied."""
    hue, saturation, value = tf.unstack(_hsv(site.inputs[0]), axis=-1)
    return [_rgb(hue, tf.clip_by_value(saturation * site.inputs[1], 0.0, 1.0), value)]


def _hsv(image: Any) -> Any:
    red, green, blue = tf.unstack(image, axis=-1)
    value = tf.maximum(tf.maximum(red, green), blue)
    spread = value - tf.minimum(tf.minimum(red, green), blue)
    zero, grey = tf.zeros((), image.dtype), tf.equal(spread, 0)
    sixth = 1 / (6 * tf.where(grey, tf.ones((), image.dtype), spread))
    hue = tf.where(
        tf.equal(red, value),
        sixth * (green - blue),
        tf.where(tf.equal(green, value), sixth * (blue - red) + 2 / 6, sixth * (red - green) + 4 / 6),
    )
    hue = tf.where(grey, zero, tf.where(hue < 0, hue + 1, hue))
    lit = value > 0
    saturation = tf.where(lit, spread / tf.where(lit, value, tf.ones((), image.dtype)), zero)
    return tf.stack([hue, saturation, value], axis=-1)


def _rgb(hue: Any, saturation: Any, value: Any) -> Any:
    def channel(colour: Any) -> Any:
        return value * (1 - saturation + saturation * tf.clip_by_value(colour, 0.0, 1.0))

    turn = hue * 6
    return tf.stack(
        [channel(tf.abs(turn - 3) - 1), channel(2 - tf.abs(turn - 2)), channel(2 - tf.abs(turn - 4))], axis=-1
    )
