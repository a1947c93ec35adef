"""Seeded weights under which an untrained network computes something that is worth comparing.

As Keras initialises them, many networks' outputs vanish with depth, or blow up the last bit of the input:
agreement on them means little. Here one eager pass over a real batch sets each layer in turn: kernels so
that their outputs have a variance of 1 (layer-sequential unit variance, https://arxiv.org/abs/1511.06422),
moving statistics to those of the batch. What is 0 or 1 at the start gets drawn values.

A normalisation takes the mean that a ReLU has made away again, and so raises rounding errors by a fifth each
time. Shifted up by one deviation most values pass the ReLU as they are: EfficientNetV2S then has a noise of
2e-6, and 2e-4 without the shift.
"""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import Any

import keras
import numpy as np

_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
_WITH_KERNEL = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_SHIFT = 1.0
_LEAST_SHARE = 0.1
_SMALL = 0.1


def settle(model: Any, inputs: Any, seed: int = 0) -> None:
    """Give `model` usable weights; `inputs` is a batch as the model will see it."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        _draw(weight, rng)
    layers = list(model._flatten_layers())
    wrapped = {layer: (layer.call, _scaling) for layer in layers if isinstance(layer, _WITH_KERNEL)}
    norms = (layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization))
    wrapped |= {layer: (layer.call, _measuring) for layer in norms}
    try:
        for layer, (call, wrap) in wrapped.items():
            layer.call = wrap(layer, call)
        model(inputs, training=False)
    finally:
        for layer, (call, _) in wrapped.items():
            layer.call = call


def _draw(weight: Any, rng: np.random.Generator) -> None:
    """Draw a bias, scale, shift or embedding; other weights stay."""
    name, shape = weight.path.rsplit("/", 1)[-1], tuple(weight.shape)
    if "embedding" in name:
        weight.assign(rng.standard_normal(shape))
    elif name == "bias" and "_cell" not in weight.path:
        weight.assign(0.1 * rng.standard_normal(shape))
    elif name == "beta":
        weight.assign(_SHIFT + 0.1 * rng.standard_normal(shape))
    elif name in {"gamma", "scale"}:
        # ConvNeXt starts the scale of its branches at 1e-6, so that none of them would show.
        low, high = (0.8, 1.2) if float(np.max(np.abs(weight))) > _SMALL else (0.2, 0.4)
        weight.assign(rng.uniform(low, high, shape))


def _scaling(layer: Any, call: Any) -> Any:
    """Return `call`, which first divides the last kernel by the standard deviation of its output."""

    def scaled(*args: Any, **kwargs: Any) -> Any:
        activation, layer.activation = layer.activation, keras.activations.linear
        bias = getattr(layer, "bias", None)
        drawn = None if bias is None else np.asarray(bias)
        if bias is not None:
            bias.assign(np.zeros_like(drawn))
        deviation = float(keras.ops.std(keras.ops.cast(call(*args, **kwargs), "float32")))
        layer.activation = activation
        if bias is not None:
            bias.assign(drawn)
        kernel = [getattr(layer, name) for name in _KERNELS if getattr(layer, name, None) is not None][-1]
        if deviation > 0:
            kernel.assign(kernel / deviation)
        return call(*args, **kwargs)

    return scaled


def _measuring(layer: Any, call: Any) -> Any:
    """Return `call`, which first takes the batch's own statistics as the moving ones."""

    def measured(inputs: Any, **kwargs: Any) -> Any:
        values = np.asarray(keras.ops.cast(inputs, "float32"))
        axes = tuple(axis for axis in range(values.ndim) if axis != layer.axis % values.ndim)
        variance = values.var(axis=axes, dtype=np.float64)
        layer.moving_mean.assign(values.mean(axis=axes, dtype=np.float64))
        # A channel that hardly moves in this batch must not blow up in another.
        layer.moving_variance.assign(np.maximum(variance, _LEAST_SHARE * variance.mean()))
        return call(inputs, **kwargs)

    return measured
