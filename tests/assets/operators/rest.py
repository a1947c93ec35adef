"""Cases for `tests.support.operators`: operations that the other modules lack, older versions among them."""

# TensorFlow and Keras have no types of their own.
# mypy: disable-error-code="misc,no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def _rows(*shape: int) -> Any:
    """Return numbers with ties."""
    values = np.random.default_rng(shape).standard_normal(shape).astype(np.float32)
    values[-1] = values[0]
    return values


def _pair(value: Any) -> Any:
    return tf.math.real(value), tf.math.imag(value)


def _complex(a: Any) -> Any:
    return tf.complex(a, a[..., ::-1])


def _normalised(kind: str) -> Any:
    raw = getattr(tf.raw_ops, kind)
    scale, offset, mean, variance = ([0.5, 1.0, -2.0], [0.0, 1.0, 2.0], [0.1, -0.2, 3.0], [1.0, 0.0, 4.0])
    return lambda a: raw(x=a, scale=scale, offset=offset, mean=mean, variance=variance, is_training=False)[0]


def _suppressed(version: int, **options: Any) -> Any:
    raw = getattr(tf.raw_ops, f"NonMaxSuppressionV{version}")

    def kept(a: Any, b: Any) -> Any:
        low, size = tf.split(tf.sigmoid(a) / 2, 2, axis=-1)
        boxes = tf.concat([low, low + size], -1)
        return raw(boxes=boxes, scores=b, max_output_size=4, iou_threshold=0.4, **options)

    return kept


def _padded(count: int, threshold: float, **options: Any) -> Any:
    return lambda a, b: tf.image.non_max_suppression_padded(
        a, b, count, threshold, pad_to_max_output_size=True, **options
    )


def _boxes(*shape: int) -> tuple[Any, Any]:
    """Return boxes, many of which overlap, and their scores."""
    draw = np.random.default_rng(shape).random
    low, size = draw((*shape, 2)) * 0.6, 0.05 + draw((*shape, 2)) * 0.4
    return np.concatenate([low, low + size], -1).astype(np.float32), draw(shape).astype(np.float32)


_BOXES_OF_IMAGES = [_boxes(2, 40), _boxes(3, 60), _boxes(1, 1)]
_LISTS = [(_rows(6, 4),), (_rows(3, 4),), (_rows(1, 4),)]
_MATRICES = [(_rows(2, 4, 4),), (_rows(3, 4, 4),)]
_IMAGES = [(_rows(2, 7, 9, 3),), (_rows(1, 8, 6, 3),)]
_VOLUMES = [(_rows(1, 5, 6, 7, 2),), (_rows(2, 5, 6, 7, 2),)]
_SIGNED = [(np.array([[-3, -1, 0, 2, 9], [4, 4, 5, -7, 3]], np.int32),)]
_CLASSES = np.random.default_rng(5).integers(0, 4, 6).astype(np.int32)
_SEVEN = np.array([7, -7, 8, 1, -1, 7], np.int32)
_WAVES = [(_rows(3, 8),), (_rows(1, 8),)]
_PLANES = [(_rows(2, 4, 6),)]
_SOLIDS = [(_rows(2, 4, 3, 6),)]
_BOXES = [(_rows(9, 4), np.random.default_rng(9).random(9).astype(np.float32))]

CASES: dict[str, Any] = {
    "old_add": (lambda a: tf.raw_ops.Add(x=a, y=a[:1]), _LISTS),
    "old_div": (lambda a: tf.raw_ops.Div(x=a, y=a[:1]), _LISTS),
    "old_concat": (lambda a: tf.raw_ops.Concat(concat_dim=1, values=[a, -a]), _LISTS),
    "old_gather": (lambda a: tf.raw_ops.Gather(params=a, indices=[0, 0]), _LISTS),
    "old_bias_add": (lambda a: tf.raw_ops.BiasAddV1(value=a, bias=[1.0, 2.0, 3.0, 4.0]), _LISTS),
    "old_clip": (lambda a: tf.raw_ops.ClipByValue(t=a, clip_value_min=-0.5, clip_value_max=0.5), _LISTS),
    "old_mod": (lambda a, b: tf.raw_ops.Mod(x=a, y=b), [(_CLASSES - 2, _SEVEN)]),
    "old_batch_matmul": (lambda a: tf.raw_ops.BatchMatMul(x=a, y=a, adj_y=True), _MATRICES),
    "batch_matmul_v3": (lambda a: tf.raw_ops.BatchMatMulV3(x=a, y=a, Tout=tf.float32, adj_x=True), _MATRICES),
    "old_bincount": (
        lambda a: tf.raw_ops.Bincount(arr=a, size=4, weights=tf.zeros([0])),
        [(_CLASSES,)],
    ),
    "old_in_top_k": (
        lambda a, b: tf.raw_ops.InTopK(predictions=a, targets=b, k=2),
        [(_rows(6, 4), _CLASSES)],
    ),
    "max_pool_v2": (
        lambda a: tf.raw_ops.MaxPoolV2(
            input=a, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME", data_format="NHWC"
        ),
        _IMAGES,
    ),
    "max_pool_argmax": (lambda a: tf.nn.max_pool_with_argmax(a, 2, 2, "SAME")[0], _IMAGES),
    "max_pool3d": (lambda a: tf.nn.max_pool3d(a, 2, 2, "SAME"), _VOLUMES),
    "conv3d_transpose": (
        lambda a: tf.nn.conv3d_transpose(
            a, tf.constant(_rows(2, 2, 2, 3, 2)), [tf.shape(a)[0], 10, 12, 14, 3], 2
        ),
        _VOLUMES,
    ),
    **{
        f"normalised_{kind}": (_normalised(kind), _IMAGES)
        for kind in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
    },
    "batch_to_space": (lambda a: tf.batch_to_space(a, [2, 2], [[0, 0], [1, 0]]), [(_rows(4, 3, 5, 2),)]),
    "check_numerics": (lambda a: tf.debugging.check_numerics(a, "a"), _LISTS),
    "ensure_shape": (lambda a: tf.ensure_shape(a, [None, 4]), _LISTS),
    "with_default": (lambda a: tf.raw_ops.PlaceholderWithDefault(input=a * 2, shape=[None, 4]), _LISTS),
    "prevent_gradient": (lambda a: tf.raw_ops.PreventGradient(input=a * 2), _LISTS),
    "l2_loss": (tf.nn.l2_loss, _LISTS),
    "approx_max_k": (lambda a: tf.math.approx_max_k(a, 2), _LISTS),
    "cross_entropy": (lambda a: tf.nn.softmax_cross_entropy_with_logits(tf.nn.softmax(-a), a), _LISTS),
    "sparse_cross_entropy": (
        lambda a, b: tf.nn.sparse_softmax_cross_entropy_with_logits(b, a),
        [(_rows(6, 4), _CLASSES)],
    ),
    "fake_quant_vars": (
        lambda a: tf.quantization.fake_quant_with_min_max_vars(a, -1.0, 2.0, narrow_range=True),
        _LISTS,
    ),
    "fake_quant_per_channel": (
        lambda a: tf.quantization.fake_quant_with_min_max_vars_per_channel(
            a, [-1.0] * 4, [1.0, 2.0, 3.0, 0.5]
        ),
        _LISTS,
    ),
    "old_quantize_dequantize": (
        lambda a: tf.raw_ops.QuantizeAndDequantizeV2(
            input=a, input_min=-2.0, input_max=2.0, range_given=True, narrow_range=True
        ),
        _LISTS,
    ),
    "upper_bound": (
        lambda a: tf.searchsorted([-1.0, 0.0, 0.0, 1.0], tf.reshape(a, [-1]), side="right"),
        _LISTS,
    ),
    # Fourier transforms.
    "conj": (lambda a: _pair(tf.math.conj(_complex(a))), _LISTS),
    "fft": (lambda a: _pair(tf.signal.fft(_complex(a))), _WAVES),
    "ifft": (lambda a: _pair(tf.signal.ifft(_complex(a))), _WAVES),
    "irfft": (lambda a: tf.signal.irfft(_complex(a[:, :5])), _WAVES),
    "fft2d": (lambda a: _pair(tf.signal.fft2d(_complex(a))), _PLANES),
    "ifft2d": (lambda a: _pair(tf.signal.ifft2d(_complex(a))), _PLANES),
    "rfft2d": (lambda a: _pair(tf.signal.rfft2d(a)), _PLANES),
    "irfft2d": (lambda a: tf.signal.irfft2d(tf.signal.rfft2d(a) * 2), _PLANES),
    "fft3d": (lambda a: _pair(tf.signal.fft3d(_complex(a))), _SOLIDS),
    "ifft3d": (lambda a: _pair(tf.signal.ifft3d(_complex(a))), _SOLIDS),
    "rfft3d": (lambda a: _pair(tf.signal.rfft3d(a)), _SOLIDS),
    "irfft3d": (lambda a: tf.signal.irfft3d(tf.signal.rfft3d(a) * 2), _SOLIDS),
    # Matrices.
    "old_diag": (lambda a: tf.raw_ops.MatrixDiag(diagonal=a), _LISTS),
    "diag_v2": (
        lambda a: tf.raw_ops.MatrixDiagV2(diagonal=a, k=1, num_rows=-1, num_cols=-1, padding_value=2.0),
        _LISTS,
    ),
    "old_diag_part": (lambda a: tf.raw_ops.MatrixDiagPart(input=a), _MATRICES),
    "diag_part_v2": (lambda a: tf.raw_ops.MatrixDiagPartV2(input=a, k=-1, padding_value=0.0), _MATRICES),
    "old_set_diag": (lambda a: tf.raw_ops.MatrixSetDiag(input=a, diagonal=a[:, 0]), _MATRICES),
    "set_diag_v2": (lambda a: tf.raw_ops.MatrixSetDiagV2(input=a, diagonal=a[:, 0, 1:], k=1), _MATRICES),
    "solve": (lambda a: tf.linalg.solve(a + 3 * tf.eye(3), a[..., :2]), [(_rows(2, 3, 3),)]),
    "slogdet": (tf.linalg.slogdet, [(_rows(2, 3, 3),)]),
    # Segments.
    "segment_min_of_constants": (lambda a: tf.math.segment_min(a, [0, 0, 2, 2]), [(_rows(4, 3),)]),
    "sparse_segment_sqrt_n_of_constants": (
        lambda a: tf.sparse.segment_sqrt_n(a, [0, 1, 2], [0, 0, 2]),
        [(_rows(5, 3),)],
    ),
    "parallel_stitch": (
        lambda a: tf.raw_ops.ParallelDynamicStitch(indices=[[0, 2], [1, 3]], data=[a[:2], a[:2] * 2]),
        [(_rows(2, 4),)],
    ),
    # Detection.
    "crop_and_resize": (
        lambda a: tf.image.crop_and_resize(a, [[0.1, 0.2, 0.9, 0.8], [0.0, 0.0, 1.0, 1.0]], [0, 0], (4, 5)),
        _IMAGES,
    ),
    "suppression_v2": (_suppressed(2), _BOXES),
    "suppression_v3": (_suppressed(3, score_threshold=0.2), _BOXES),
    "suppression_v4": (_suppressed(4, score_threshold=0.2, pad_to_max_output_size=True), _BOXES),
    "suppression_v5": (_suppressed(5, score_threshold=0.2, soft_nms_sigma=0.0), _BOXES),
    "suppression_combined": (
        lambda a, b: tf.image.combined_non_max_suppression(
            tf.sigmoid(a)[None, :, None], b[None, :, None], 3, 4, 0.4, 0.2
        ),
        _BOXES,
    ),
    "suppression_padded": (_padded(9, 0.3), _BOXES_OF_IMAGES),
    "suppression_padded_tiles": (
        _padded(20, 0.5, tile_size=8, canonicalized_coordinates=True),
        _BOXES_OF_IMAGES,
    ),
    "suppression_padded_of_zero": (_padded(9, 0.0), _BOXES_OF_IMAGES),
    # Ragged and sparse.
    "ragged_range": (lambda a: tf.ragged.range(a[0]).to_tensor(-1), [(np.array([[3, 0, 2]], np.int32),)]),
    "ragged_gather": (
        lambda a: tf.gather(tf.RaggedTensor.from_row_splits(a, [0, 2, 2, 6]), [2, 0, 1]).to_tensor(-1.0),
        [(_rows(6, 4),)],
    ),
    "ragged_to_sparse": (
        lambda a: tf.sparse.to_dense(tf.RaggedTensor.from_row_splits(a[:, 0], [0, 2, 2, 6]).to_sparse()),
        [(_rows(6, 4),)],
    ),
    "ragged_map": (
        lambda a: tf.map_fn(
            tf.reduce_sum, tf.RaggedTensor.from_row_splits(a, [0, 2, 2, 6]), fn_output_signature=tf.float32
        ),
        [(_rows(6, 4),)],
    ),
    "sparse_reshape": (
        lambda a: tf.sparse.to_dense(
            tf.sparse.reshape(tf.SparseTensor([[0, 1], [2, 3]], a[0, :2], [3, 4]), [4, 3])
        ),
        _LISTS,
    ),
    "sparse_fill_empty_rows": (
        lambda a: tf.sparse.to_dense(
            tf.sparse.fill_empty_rows(tf.SparseTensor([[0, 1], [2, 3]], a[0, :2], [3, 4]), 9.0)[0]
        ),
        _LISTS,
    ),
    "unique_with_counts": (lambda a: tf.unique_with_counts(tf.reshape(a, [-1])), _SIGNED),
    "set_difference": (
        lambda a: tf.sparse.to_dense(tf.sets.difference(a, tf.constant([[4, 9], [4, 3]]))),
        _SIGNED,
    ),
    "ctc_greedy": (
        lambda a: tf.sparse.to_dense(tf.nn.ctc_greedy_decoder(a, tf.fill([tf.shape(a)[1]], 5))[0][0]),
        [(_rows(5, 2, 4),)],
    ),
}

QUICK = ["suppression_padded_tiles", "fft3d", "set_diag_v2"]
