"""Small functions for convert_functions.py, each with an operation that is rewritten."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

CASES: dict[str, Any] = {}

_LENGTHS = [(1, 17, 3), (4, 32, 3), (8, 51, 3)]
_SIZES = [(1, 17, 13, 3), (2, 24, 24, 3), (3, 33, 31, 3)]
_VOLUMES = [(1, 7, 8, 8, 2), (1, 8, 9, 8, 2), (2, 9, 11, 12, 2)]
_SOUNDS = [(1, 200), (2, 401), (3, 512)]
_ROWS = (None, 6)
_IMAGE = (None, 16, 12, 3)


def case(
    *shapes: tuple[int | None, ...],
    dtypes: Any = tf.float32,
    corners: Sequence[tuple[int, ...]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function of inputs a, b, c of these shapes; `corners` are of the first input."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        kinds = dtypes if isinstance(dtypes, tuple) else (dtypes,) * len(shapes)
        specs = [
            tf.TensorSpec(shape, kind, "abc"[index])
            for index, (shape, kind) in enumerate(zip(shapes, kinds, strict=True))
        ]
        given = corners and {"a": dict(zip(("min", "opt", "max"), corners, strict=True))}
        CASES[function.__name__] = (function, specs, given)
        return function

    return register


def unary(
    name: str,
    function: Callable[[Any], Any],
    shape: tuple[int | None, ...] = _ROWS,
    dtype: Any = tf.float32,
    corners: Sequence[tuple[int, ...]] | None = None,
    holds: Any = None,
) -> None:
    """Register `function` of one input a; what it returns becomes the output y."""

    def serve(a: Any) -> dict[str, Any]:
        return {"y": function(a)}

    serve.__name__ = name
    serve.holds = holds  # type: ignore[attr-defined]
    case(shape, dtypes=dtype, corners=corners)(serve)


def layer(
    name: str, made: Any, shape: tuple[int | None, ...], corners: Sequence[tuple[int, ...]] | None = None
) -> None:
    """Register a Keras layer."""
    made.build((1, *(size or 16 for size in shape[1:])))
    unary(name, made, shape, corners=corners, holds=made)


def weights(*shape: int) -> Any:
    return tf.constant(np.random.default_rng(shape).standard_normal(shape).astype(np.float32) / 3)


# Dilated convolution, as every API writes it.
for padding in ("same", "valid", "causal"):
    layer(
        f"dilated_conv1d_{padding}",
        keras.layers.Conv1D(4, 3, padding=padding, dilation_rate=4),
        (None, None, 3),
        _LENGTHS,
    )
for padding in ("same", "valid"):
    layer(
        f"dilated_conv2d_{padding}",
        keras.layers.Conv2D(4, 3, padding=padding, dilation_rate=(2, 3)),
        (None, None, None, 3),
        _SIZES,
    )
    layer(
        f"dilated_depthwise2d_{padding}",
        keras.layers.DepthwiseConv2D(3, padding=padding, dilation_rate=2),
        (None, None, None, 3),
        _SIZES,
    )
_across = {"padding": "same", "dilation_rate": 2}
layer("dilated_depthwise1d", keras.layers.DepthwiseConv1D(3, **_across), (None, None, 3), _LENGTHS)
layer("dilated_separable1d", keras.layers.SeparableConv1D(4, 3, **_across), (None, None, 3), _LENGTHS)
layer(
    "dilated_conv3d",
    keras.layers.Conv3D(2, 3, padding="same", dilation_rate=2),
    (None, None, None, None, 2),
    _VOLUMES,
)
_plain = weights(3, 3, 3, 4)
behind = lambda a: tf.nn.relu6(tf.nn.conv2d(a, _plain, 1, "SAME") + 3.0) / 6  # noqa: E731
unary("scalar_behind_convolution", behind, (None, None, None, 3), corners=_SIZES)
_even = weights(4, 3, 5)
unary(
    "dilated_even_kernel",
    lambda a: tf.nn.convolution(a, _even, padding="SAME", dilations=3),
    (None, None, 3),
    corners=_LENGTHS,
)
_fixed = weights(3, 3, 5)
unary(
    "dilated_fixed_length", lambda a: tf.nn.convolution(a, _fixed, padding="SAME", dilations=2), (None, 32, 3)
)

# Resizing.
for method in ("bilinear", "bicubic", "area", "lanczos3", "mitchellcubic"):
    unary(
        f"resize_{method}_antialias",
        lambda a, method=method: tf.image.resize(a, (7, 9), method=method, antialias=True),
        _IMAGE,
    )
for method in ("bicubic", "area", "lanczos5", "gaussian", "nearest"):
    unary(f"resize_{method}", lambda a, method=method: tf.image.resize(a, (24, 20), method=method), _IMAGE)
unary("resize_nearest_twice", lambda a: tf.image.resize(a, (32, 24), method="nearest"), _IMAGE)
unary(
    "resize_nearest_dynamic",
    lambda a: tf.image.resize(a, tf.shape(a)[1:3] * 2, method="nearest"),
    (None, None, None, 3),
    corners=_SIZES,
)
unary(
    "resize_bicubic_v1", lambda a: tf.compat.v1.image.resize_bicubic(a, (24, 20), align_corners=True), _IMAGE
)

# Spectra.
unary(
    "rfft", lambda a: tf.stack([tf.math.real(tf.signal.rfft(a)), tf.math.imag(tf.signal.rfft(a))]), (None, 60)
)
unary("irfft", lambda a: tf.signal.irfft(tf.signal.rfft(a) * tf.complex(0.5, 0.25)), (None, 64))
unary(
    "fft_ifft", lambda a: tf.math.imag(tf.signal.ifft(tf.signal.fft(tf.complex(a, a * a)) / 2.0)), (None, 64)
)
unary("rfft2d", lambda a: tf.abs(tf.signal.rfft2d(a)), (None, 8, 12))
unary("irfft2d", lambda a: tf.signal.irfft2d(tf.signal.rfft2d(a)), (None, 8, 12))
unary("stft", lambda a: tf.abs(tf.signal.stft(a, 64, 16)), (None, None), corners=_SOUNDS)
unary("stft_padded", lambda a: tf.abs(tf.signal.stft(a, 64, 16, pad_end=True)), (None, None), corners=_SOUNDS)
unary("istft", lambda a: tf.signal.inverse_stft(tf.signal.stft(a, 64, 16), 64, 16), (None, 400))
unary("dct", lambda a: tf.signal.idct(tf.signal.dct(a) * 2), (None, 40))
layer(
    "mel_spectrogram",
    keras.layers.MelSpectrogram(
        fft_length=64,
        sequence_length=64,
        sequence_stride=16,
        num_mel_bins=8,
        sampling_rate=1000,
        max_freq=400,
    ),
    (None, 400),
)
unary(
    "rotary",
    lambda a: tf.math.real(tf.complex(a[:, ::2], a[:, 1::2]) * tf.exp(tf.complex(0.0, tf.range(8.0)))),
    (None, 16),
)

# Elementwise.
unary("erfc", tf.math.erfc)
unary("xdivy", lambda a: tf.math.xdivy(tf.nn.relu(a), tf.nn.relu(a)))
unary("multiply_no_nan", lambda a: tf.math.multiply_no_nan(tf.math.log(a), tf.nn.relu(a)))
unary("cross", lambda a: tf.linalg.cross(a[:, :3], a[:, 3:]))
unary("prevent_gradient", lambda a: tf.raw_ops.PreventGradient(input=a) * 2)
unary("clip_by_global_norm", lambda a: tf.clip_by_global_norm([a], 1.0)[0][0])
unary("symmetric_pad", lambda a: tf.pad(a, [[0, 0], [2, 1]], "SYMMETRIC"))
unary("where_of_infinities", lambda a: tf.nn.softmax(tf.where(a > 0, a, a - np.inf)))
unary("fake_quant", lambda a: tf.quantization.fake_quant_with_min_max_vars(a, -1.3, 2.0, narrow_range=True))
unary(
    "fake_quant_per_channel",
    lambda a: tf.quantization.fake_quant_with_min_max_vars_per_channel(
        a, [-1.0, -2.0, -1.5], [1.0, 0.5, 2.0]
    ),
    (None, 3),
)
unary("gelu_in_a_loop", lambda a: tf.map_fn(lambda row: tf.nn.gelu(row) + tf.reduce_sum(row), a), (None, 5))

# Images.
unary("hsv", lambda a: tf.image.rgb_to_hsv(tf.sigmoid(a)), _IMAGE)
unary("rgb", lambda a: tf.image.hsv_to_rgb(tf.sigmoid(a)), _IMAGE)
unary("saturation", lambda a: tf.image.adjust_saturation(tf.sigmoid(a), 1.5), _IMAGE)
unary(
    "patches", lambda a: tf.image.extract_patches(a, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME"), _IMAGE
)
unary("max_pool_argmax", lambda a: tf.nn.max_pool_with_argmax(a, 2, 2, "SAME")[0], _IMAGE)


@case(_IMAGE, (None, 4))
def crop_and_resize(a: Any, b: Any) -> dict[str, Any]:
    return {"y": tf.image.crop_and_resize(a, tf.sigmoid(b) * 1.2 - 0.1, tf.range(tf.shape(a)[0]), (5, 4))}


# Counts and tables.
unary("bincount", lambda a: tf.math.bincount(a, minlength=8, maxlength=8, axis=-1), dtype=tf.int32)
unary("bincount_flat", lambda a: tf.math.bincount(a, minlength=8, maxlength=8), dtype=tf.int32)
unary("category_encoding", keras.layers.CategoryEncoding(8, "multi_hot"), dtype=tf.int32)
unary("discretization", keras.layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0]))
unary("searchsorted", lambda a: tf.searchsorted(tf.constant([-1.0, 0.0, 1.0]), tf.reshape(a, [-1]), "right"))
unary("one_hot_of_negatives", lambda a: tf.one_hot(tf.cast(a * 3, tf.int32), 4))


@case((None, 6), (None,), dtypes=(tf.float32, tf.int32))
def in_top_k(a: Any, b: Any) -> dict[str, Any]:
    return {"y": tf.math.in_top_k(b, a, 3)}


unary("approx_max_k", lambda a: tf.math.approx_max_k(a, 3)[0])


def _table(keys: Any, values: Any, default: Any) -> Any:
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), default)


_words = _table(tf.constant([0, 1, 5, -9], tf.int64), tf.constant([1.5, 2.5, 3.5, 4.5]), -1.0)
_lookup = keras.layers.IntegerLookup(vocabulary=[3, 1, 70, 2, -5])
unary("table_of_numbers", _words.lookup, dtype=tf.int64, holds=_words)
unary("integer_lookup", lambda a: _lookup(a * 70 - 5 * (1 - a)), dtype=tf.int64, holds=_lookup)

# Matrices.
unary("diag", tf.linalg.diag)
unary("set_diag", lambda a: tf.linalg.set_diag(a, tf.ones(tf.shape(a)[:2])), (None, 5, 5))
unary("eye_of_batch", lambda a: tf.eye(tf.shape(a)[0]) @ a)
unary("inverse_of_3x3", lambda a: tf.linalg.inv(a + 4 * tf.eye(3)), (None, 3, 3))
unary("determinant", tf.linalg.det, (None, 3, 3))
unary("log_determinant", lambda a: tf.linalg.slogdet(a + 4 * tf.eye(3))[1], (None, 3, 3))
unary("solve", lambda a: tf.linalg.solve(a + 4 * tf.eye(2), a[:, :, :1]), (None, 2, 2))
unary("cumprod", lambda a: tf.math.cumprod(a, axis=1, exclusive=True, reverse=True))
unary("cumulative_logsumexp", lambda a: tf.math.cumulative_logsumexp(a, axis=1))
_dense = weights(3, 4)
unary("einsum_ellipsis", lambda a: tf.einsum("...sd,de->...se", a, _dense), (None, None, 3), corners=_LENGTHS)
