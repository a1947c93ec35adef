"""One small model for each kind of Keras layer that carries a network."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers as kl

from tests.zoo.builders.inputs import functional


def build(name: str) -> Any:
    """Return the model."""
    model = functional(name, globals()[name])
    if name == "quantised_by_keras":
        model.quantize("int8")
    return model


def resized_and_padded(image: Any) -> Any:
    return kl.Conv2D(4, 3)(kl.Resizing(24, 32, pad_to_aspect_ratio=True)(image))


def quantised_by_keras(x: Any) -> Any:
    return kl.Dense(4)(kl.Dense(32, activation="relu")(x))


def conv1d_dilated(x: Any) -> Any:
    for rate in (1, 2, 4):
        x = kl.Conv1D(6, 3, dilation_rate=rate, padding="causal", activation="relu")(x)
    return kl.Conv1D(4, 5, dilation_rate=3, padding="same")(x)


def conv2d_dynamic(image: Any) -> Any:
    x = kl.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    x = kl.Conv2D(8, 3, dilation_rate=2, padding="same")(x)
    x = kl.MaxPooling2D(2)(kl.BatchNormalization()(x))
    return kl.Dense(5, activation="softmax")(kl.GlobalAveragePooling2D()(x))


def conv2d_grouped(image: Any) -> Any:
    x = kl.Conv2D(8, 3, groups=4, padding="same", activation="gelu")(image)
    x = kl.DepthwiseConv2D(3, depth_multiplier=2)(x)
    return kl.SeparableConv2D(6, 3, padding="same")(x)


def conv3d(volume: Any) -> Any:
    x = kl.Conv3D(4, 3, padding="same", activation="relu")(volume)
    x = kl.AveragePooling3D(2)(x)
    return kl.GlobalMaxPooling3D()(kl.Conv3DTranspose(3, 2, strides=2)(x))


def transposed(image: Any) -> Any:
    x = kl.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu")(image)
    return kl.Conv2DTranspose(2, 4, strides=2, padding="valid")(x)


def transposed1d(x: Any) -> Any:
    x = kl.Conv1DTranspose(6, 3, strides=2, padding="same", activation="elu")(x)
    return kl.Conv1DTranspose(2, 4, strides=3)(x)


def unet(image: Any) -> Any:
    down = kl.Conv2D(6, 3, padding="same", activation="relu")(image)
    low = kl.Conv2D(8, 3, padding="same", activation="relu")(kl.MaxPooling2D()(down))
    up = kl.UpSampling2D(2, interpolation="nearest")(low)
    return kl.Conv2D(3, 1, activation="sigmoid")(kl.Concatenate()([down, up]))


def upsampled(image: Any) -> Any:
    bilinear = kl.UpSampling2D(2, interpolation="bilinear")(image)
    resized = kl.Resizing(16, 20, interpolation="nearest")(image)
    return kl.Concatenate()([bilinear, resized])


def padded(image: Any) -> Any:
    x = kl.Cropping2D(((1, 0), (0, 2)))(kl.ZeroPadding2D(((1, 2), (3, 0)))(image))
    return kl.Conv2D(3, 3)(x)


def normalised(x: Any) -> Any:
    x = kl.GroupNormalization(groups=4)(kl.Conv2D(8, 3)(x))
    x = kl.LayerNormalization()(x)
    x = kl.RMSNormalization()(x)
    return kl.UnitNormalization()(kl.Flatten()(x))


def activations(x: Any) -> Any:
    names = (  # noqa: SIM905 (a list of so many lines would hide the layers)
        "elu gelu hard_sigmoid hard_swish leaky_relu log_sigmoid log_softmax mish relu6 selu silu "
        "softmax softplus softsign swish tanh sigmoid exponential celu glu hard_tanh tanh_shrink "
        "sparse_plus squareplus"
    ).split()
    parts = [kl.Activation(name)(x) for name in names]
    return kl.Concatenate()([*parts, kl.PReLU()(x), kl.ReLU(6.0, 0.1, 0.5)(x)])


def embedded(tokens: Any) -> Any:
    x = kl.Embedding(50, 8)(tokens)
    return kl.Dense(3)(kl.GlobalAveragePooling1D()(x))


def preprocessed(image: Any, kind: Any) -> Any:
    x = kl.Rescaling(1 / 127.5, -1.0)(image)
    x = kl.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(x)
    x = kl.CenterCrop(8, 8)(x)
    kinds = kl.CategoryEncoding(4, output_mode="one_hot")(kind)
    return kl.Dense(3)(kl.Concatenate()([kl.GlobalMaxPooling2D()(x), kinds]))


def discretised(x: Any) -> Any:
    return kl.Embedding(4, 3)(kl.Discretization([-0.5, 0.0, 0.7])(x))


def integer_lookup(kind: Any) -> Any:
    return kl.Embedding(5, 3)(kl.IntegerLookup(vocabulary=[1, 5, 9])(kind))


def attention(query: Any, value: Any) -> Any:
    dot = kl.Attention(use_scale=True)([query, value])
    added = kl.AdditiveAttention()([query, value])
    return kl.Concatenate()([dot, added])


def multi_head(x: Any) -> Any:
    y = kl.MultiHeadAttention(4, 8)(x, x)
    return kl.LayerNormalization()(kl.Add()([x, y]))


def multi_head_causal(x: Any, memory: Any) -> Any:
    own = kl.MultiHeadAttention(4, 8)(x, x, use_causal_mask=True)
    return kl.Dense(6)(kl.MultiHeadAttention(2, 8, value_dim=5)(own, memory))


def grouped_query(x: Any) -> Any:
    return kl.GroupQueryAttention(8, 4, 2)(x, x, use_causal_mask=True)


def transformer(tokens: Any) -> Any:
    x = kl.Embedding(30, 16, mask_zero=True)(tokens)
    for _ in range(2):
        attended = kl.MultiHeadAttention(2, 8)(x, x)
        x = kl.LayerNormalization()(kl.Add()([x, attended]))
        wide = kl.Dense(32, activation="gelu")(x)
        x = kl.LayerNormalization()(kl.Add()([x, kl.Dense(16)(wide)]))
    return kl.Dense(30, activation="softmax")(x)


def multi_io(zebra: Any, apple: Any, flags: Any) -> Any:
    seen = kl.GlobalAveragePooling2D()(kl.Conv2D(4, 3)(zebra))
    joined = kl.Concatenate()([seen, apple, kl.Flatten()(flags)])
    return {"scores": kl.Dense(3, activation="softmax")(joined), "amount": kl.Dense(1)(joined)}


def mixed_float16(image: Any) -> Any:
    return _mixed("mixed_float16", image)


def mixed_bfloat16(image: Any) -> Any:
    return _mixed("mixed_bfloat16", image)


def _mixed(policy: str, image: Any) -> Any:
    with_policy = {"dtype": policy}
    x = kl.Conv2D(8, 3, activation="relu", **with_policy)(image)
    x = kl.BatchNormalization(**with_policy)(x)
    x = kl.GlobalAveragePooling2D(**with_policy)(x)
    return kl.Dense(4, activation="softmax", dtype="float32")(kl.Dense(8, **with_policy)(x))


def einsum_dense(x: Any) -> Any:
    return kl.EinsumDense("abc,cd->abd", output_shape=(None, 7), bias_axes="d", activation="tanh")(x)


def keras_ops(x: Any) -> Any:
    y = keras.ops.softmax(keras.ops.matmul(x, keras.ops.transpose(x, (0, 2, 1))))
    z = keras.ops.where(y > 0.2, y, keras.ops.zeros_like(y))
    return keras.ops.concatenate([z, keras.ops.cumsum(y, axis=-1), keras.ops.sort(y, axis=-1)], axis=1)
