"""Cases for `tests.support.operators`: convolutions, pools, resizing and colours, on odd and even sizes."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def _rows(*shape: int) -> Any:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def _weights(*shape: int) -> Any:
    return tf.constant(_rows(*shape) / 3)


_IMAGES = [(_rows(2, 7, 9, 3),), (_rows(1, 8, 6, 3),), (_rows(3, 5, 12, 3),)]
_FIXED = [(_rows(2, 7, 9, 3),), (_rows(1, 7, 9, 3),)]
_COLOURS = [(np.abs(_rows(2, 5, 6, 3)) % 1,), (np.repeat(np.abs(_rows(1, 4, 5, 1)) % 1, 3, 3),)]
_SOUNDS = [(_rows(2, 17, 3),), (_rows(1, 8, 3),), (_rows(3, 5, 3),)]
_VOLUMES = [(_rows(1, 5, 6, 7, 2),), (_rows(2, 4, 4, 5, 2),)]
_BYTES = [(np.arange(2 * 5 * 6 * 3).reshape(2, 5, 6, 3).astype(np.float32),)]
_PADS, _WAYS = ("SAME", "VALID"), ("bilinear", "nearest", "bicubic", "area", "lanczos3", "gaussian")
_kernel, _deep = _weights(3, 3, 3, 4), _weights(3, 3, 3, 2)
_line, _block = _weights(3, 3, 4), _weights(3, 3, 3, 2, 4)


def _resized(a: Any, way: str, *, antialias: bool = False) -> Any:
    return tf.image.resize(a, (11, 4), method=way, antialias=antialias)


CASES: dict[str, Any] = {
    **{
        f"conv2d_{pad}_{stride}": (
            lambda a, pad=pad, stride=stride: tf.nn.conv2d(a, _kernel, stride, pad),
            _IMAGES,
        )
        for pad in _PADS
        for stride in (1, 2, 3)
    },
    **{f"conv1d_{pad}": (lambda a, pad=pad: tf.nn.conv1d(a, _line, 2, pad), _SOUNDS) for pad in _PADS},
    **{
        f"conv3d_{pad}": (lambda a, pad=pad: tf.nn.conv3d(a, _block, [1, 2, 2, 2, 1], pad), _VOLUMES)
        for pad in _PADS
    },
    **{
        f"depthwise_{pad}_{stride}": (
            lambda a, pad=pad, stride=stride: tf.nn.depthwise_conv2d(a, _deep, [1, stride, stride, 1], pad),
            _IMAGES,
        )
        for pad in _PADS
        for stride in (1, 2)
    },
    **{
        f"conv2d_transpose_{pad}": (
            lambda a, pad=pad: tf.nn.conv2d_transpose(
                a, tf.transpose(_kernel, [0, 1, 3, 2]), [tf.shape(a)[0], 14, 18, 4], 2, pad
            ),
            _FIXED,
        )
        for pad in ("SAME",)
    },
    **{
        f"{name}_{pad}_{size}": (
            lambda a, name=name, pad=pad, size=size: getattr(tf.nn, name)(a, size, 2, pad),
            _IMAGES,
        )
        for name in ("max_pool2d", "avg_pool2d")
        for pad in _PADS
        for size in (2, 3)
    },
    "max_pool1d": (lambda a: tf.nn.max_pool1d(a, 3, 2, "SAME"), _SOUNDS),
    "avg_pool3d": (lambda a: tf.nn.avg_pool3d(a, 2, 2, "SAME"), _VOLUMES),
    **{f"resize_{way}": (lambda a, way=way: _resized(a, way), _FIXED) for way in _WAYS},
    **{
        f"resize_{way}_antialias": (lambda a, way=way: _resized(a, way, antialias=True), _FIXED)
        for way in ("bilinear", "bicubic", "lanczos3")
    },
    **{
        f"resize_open_{way}": (lambda a, way=way: _resized(a, way), _IMAGES)
        for way in ("bilinear", "nearest")
    },
    **{
        f"resize_twice_{way}": (
            lambda a, way=way: tf.image.resize(a, tf.shape(a)[1:3] * 2, method=way),
            _IMAGES,
        )
        for way in ("bilinear", "nearest")
    },
    **{
        f"resize_half_{way}": (
            lambda a, way=way: tf.image.resize(a, tf.shape(a)[1:3] // 2, method=way),
            _IMAGES,
        )
        for way in ("bilinear", "nearest")
    },
    "resize_to_a_size": (lambda a: tf.image.resize(a, (1, 1)), _IMAGES),
    "resize_corners": (
        lambda a: tf.compat.v1.image.resize_bilinear(a, (11, 4), align_corners=True),
        _FIXED,
    ),
    "resize_nearest_corners": (
        lambda a: tf.compat.v1.image.resize_nearest_neighbor(a, (11, 4), align_corners=True),
        _FIXED,
    ),
    "resize_old": (lambda a: tf.compat.v1.image.resize_bilinear(a, (11, 4)), _FIXED),
    "resize_with_pad": (lambda a: tf.image.resize_with_pad(a, 8, 8), _FIXED),
    "crop_or_pad_fixed": (lambda a: tf.image.resize_with_crop_or_pad(a, 4, 12), _FIXED),
    "crop_to_box": (lambda a: tf.image.crop_to_bounding_box(a, 1, 2, 3, 4), _FIXED),
    "pad_to_box": (lambda a: tf.image.pad_to_bounding_box(a, 1, 2, 13, 14), _FIXED),
    "flip": (lambda a: tf.image.flip_left_right(tf.image.flip_up_down(a)), _IMAGES),
    "rot90": (lambda a: tf.image.rot90(a, 3), _IMAGES),
    "hsv": (tf.image.rgb_to_hsv, _COLOURS),
    "rgb": (lambda a: tf.image.hsv_to_rgb(a), _COLOURS),  # noqa: PLW0108 (the name is the case's)
    "grey": (tf.image.rgb_to_grayscale, _COLOURS),
    "yuv": (tf.image.rgb_to_yuv, _COLOURS),
    "saturation": (lambda a: tf.image.adjust_saturation(a, 1.7), _COLOURS),
    "hue": (lambda a: tf.image.adjust_hue(a, 0.3), _COLOURS),
    "contrast": (lambda a: tf.image.adjust_contrast(a, 1.7), _COLOURS),
    "gamma": (lambda a: tf.image.adjust_gamma(a, 2.2, 1.1), _COLOURS),
    "standardised": (tf.image.per_image_standardization, _IMAGES),
    "total_variation": (tf.image.total_variation, _IMAGES),
    "sobel": (tf.image.sobel_edges, _FIXED),
    "patches": (
        lambda a: tf.image.extract_patches(a, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME"),
        _IMAGES,
    ),
    "patches_side_by_side": (
        lambda a: tf.image.extract_patches(a, [1, 2, 3, 1], [1, 2, 3, 1], [1, 1, 1, 1], "SAME"),
        [(_rows(2, 8, 9, 3),), (_rows(1, 8, 9, 3),)],
    ),
    "patches_of_large_numbers": (
        lambda a: tf.image.extract_patches(a, [1, 2, 2, 1], [1, 1, 2, 1], [1, 2, 1, 1], "SAME"),
        [(np.arange(2**24, 2**24 + 2 * 7 * 9, dtype=np.int32).reshape(2, 7, 9, 1),)],
    ),
    "patches_of_bytes": (
        lambda a: tf.image.extract_patches(
            tf.cast(a, tf.uint8), [1, 3, 3, 1], [1, 3, 2, 1], [1, 1, 1, 1], "SAME"
        ),
        _BYTES,
    ),
    "patches_larger_than_the_image": (
        lambda a: tf.image.extract_patches(a, [1, 9, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME"),
        _IMAGES,
    ),
    "patches_dilated": (
        lambda a: tf.image.extract_patches(a, [1, 2, 2, 1], [1, 1, 1, 1], [1, 2, 2, 1], "VALID"),
        _IMAGES,
    ),
    "psnr": (lambda a: tf.image.psnr(a, a[:, ::-1] + 0.5, 1.0), _FIXED),
    "convert_type": (lambda a: tf.image.convert_image_dtype(tf.cast(a, tf.uint8), tf.float32), _BYTES),
    "batch_norm": (
        lambda a: tf.nn.batch_normalization(
            a, tf.constant([0.1, 0.2, 0.3]), tf.constant([1.0, 2.0, 0.0]), None, None, 1e-3
        ),
        _IMAGES,
    ),
    "local_response": (lambda a: tf.nn.local_response_normalization(a, 1), _IMAGES),
    "bias_add": (lambda a: tf.nn.bias_add(a, [1.0, 2.0, 3.0]), _IMAGES),
    "prelu": (lambda a: tf.maximum(a, 0) + tf.constant([0.1, 0.2, 0.0]) * tf.minimum(a, 0), _IMAGES),
    "dilation2d": (
        lambda a: tf.nn.dilation2d(a, _weights(2, 2, 3), [1, 1, 1, 1], "SAME", "NHWC", [1, 1, 1, 1]),
        _IMAGES,
    ),
    "pool_odd_window": (lambda a: tf.nn.pool(a, [2, 3], "AVG", [1, 2], "SAME"), _IMAGES),
    "frame": (lambda a: tf.signal.frame(a[:, :, 0], 4, 3, pad_end=True), _SOUNDS),
    "overlap_and_add": (lambda a: tf.signal.overlap_and_add(a, 2), [(_rows(2, 5, 4),)]),
}

QUICK: list[str] = []
