"""`tf.image.extract_patches`, as vision transformers cut images up, becomes a convolution.

tf2onnx converts it only with padding VALID and rate 1, and raises TypeError otherwise. A convolution
whose kernel is the identity copies each patch into the channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites


@rewrites("ExtractImagePatches")
def extract_patches(site: Site) -> list[Any] | None:
    """Return the patches, each with its pixels in the channels."""
    (image,) = site.inputs
    channels = image.shape[-1]
    if channels is None:
        return None
    _, high, wide, _ = site.attr("ksizes")
    depth = high * wide * channels
    kernel = np.eye(depth, dtype=np.float32).reshape(high, wide, channels, depth)
    patches = tf.raw_ops.Conv2D(
        input=tf.cast(image, tf.float32),
        filter=tf.constant(kernel),
        strides=site.attr("strides"),
        padding=site.attr("padding"),
        dilations=site.attr("rates"),
    )
    return [tf.cast(patches, image.dtype)]
