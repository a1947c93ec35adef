"""One small `tf.function` for each group of TensorFlow's own operations."""

# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tests.zoo.builders.inputs import Call


def build(name: str) -> Any:
    """Return a module with the function as its signature; some come with samples."""
    made = Call(name, globals()[name])
    # What a function uses must belong to its module, or it cannot be saved.
    made.kept = [_TABLE] if name == "table" else []
    samples = _SAMPLES.get(name)
    return (made, samples()) if samples else made


def _weight(*shape: int) -> Any:
    return tf.constant(np.random.default_rng(3).standard_normal(shape), tf.float32)


def split_heads(x: Any) -> Any:
    product = tf.tensordot(x, _weight(12, 12), 1)
    size = tf.shape(product)
    heads = tf.transpose(tf.reshape(product, [size[0], size[1], 3, 4]), [0, 2, 1, 3])
    return tf.transpose(tf.nn.softmax(heads @ tf.transpose(heads, [0, 1, 3, 2])) @ heads, [0, 2, 1, 3])


def steps_by_hand(x: Any) -> Any:
    state, weight = tf.zeros_like(x[:, 0, :]), _weight(4, 4)
    for step in tf.range(tf.shape(x)[1]):
        state = tf.tanh(state @ weight + x[:, step, :])
    return state


def rows_by_hand(x: Any) -> Any:
    number = tf.shape(x)[0]
    rows = tf.TensorArray(tf.float32, number, element_shape=(4,))
    loop = tf.while_loop(
        lambda row, _: row < number,
        lambda row, rows: (row + 1, rows.write(row, tf.nn.softmax(x[row]) * 2)),
        (0, rows),
    )
    return loop[1].stack()


def bytes_turned(image: Any) -> Any:
    turned = tf.image.flip_left_right(image[:, 1:, :, ::-1])
    return tf.cast(tf.pad(turned, [[0, 0], [1, 1], [2, 0], [0, 0]], constant_values=114), tf.float32) / 255


def pictures_of_16_bits(image: Any) -> Any:
    return tf.cast(image[:, ::-1], tf.float32) / 512


def arithmetic(x: Any, y: Any) -> Any:
    return {
        "smooth": tf.sqrt(tf.abs(x)) + tf.exp(-tf.square(y)) + tf.sin(x) * tf.cos(y) + tf.atan(x * y),
        "steps": tf.floor(x) + tf.math.ceil(y) + tf.round(x) + tf.sign(y) + tf.math.floormod(x, 1.5),
        "bounds": tf.clip_by_value(tf.maximum(x, y), -1.0, 1.0) + tf.minimum(x, 0.5),
        "special": tf.math.erf(x) + tf.math.softplus(y) + tf.math.log1p(tf.abs(x)) + tf.math.expm1(y),
    }


def reductions(x: Any) -> Any:
    return {
        "sums": tf.reduce_sum(x, 1) + tf.reduce_mean(x, 1) + tf.reduce_max(x, 1) - tf.reduce_min(x, 1),
        "product": tf.reduce_prod(1 + x / 9, axis=[1, 2]),
        "spread": tf.math.reduce_std(x, -1) + tf.math.reduce_variance(x, -1) + tf.norm(x, axis=-1),
        "scores": tf.reduce_logsumexp(x, -1) + tf.math.l2_normalize(x, -1)[..., 0],
        "some": tf.cast(tf.reduce_any(x > 1, -1), tf.float32)
        - tf.cast(tf.reduce_all(x > -1, -1), tf.float32),
    }


def integers(a: Any, b: Any) -> Any:
    return {
        "total": a + b * 3 - a // (b + 2) + a % (b + 3),
        "larger": tf.maximum(a, b),
        "equal": tf.cast(tf.equal(a, b), tf.int32),
    }


def doubles(x: Any) -> Any:
    return tf.tanh(x) * 2 + tf.reduce_mean(x, -1, keepdims=True)


def bytes_image(image: Any) -> Any:
    x = tf.cast(image, tf.float32) / 255.0 - 0.5
    return tf.nn.conv2d(x, _weight(3, 3, 3, 4), 2, "SAME")


def booleans(mask: Any, x: Any) -> Any:
    return tf.where(mask, x, -x) * tf.cast(tf.logical_not(mask), tf.float32) + x


def matrices(x: Any, y: Any) -> Any:
    return {
        "product": tf.linalg.matmul(x, y, transpose_b=True),
        "einsum": tf.einsum("bij,bkj,j->bik", x, y, _weight(5)),
        "band": tf.linalg.band_part(tf.linalg.matmul(x, x, transpose_b=True), -1, 0),
        "trace": tf.linalg.trace(tf.linalg.matmul(y, y, transpose_b=True)),
        "dots": tf.tensordot(x, _weight(5, 2, 3), 1),
    }


def gathers(table: Any, index: Any) -> Any:
    return {
        "rows": tf.gather(table, index, axis=1, batch_dims=1),
        "points": tf.gather_nd(table, index[..., tf.newaxis], batch_dims=1),
        "hot": tf.one_hot(index, 5, on_value=2.0, off_value=-1.0),
        "best": tf.argmax(table, -1),
        "least": tf.argmin(table, 1, output_type=tf.int32),
    }


def scatters(x: Any) -> Any:
    index = tf.constant([[0], [2]])
    parts = tf.scatter_nd(index, tf.reduce_sum(x, 0)[:2], [4, 3])
    changed = tf.tensor_scatter_nd_update(tf.zeros([4, 3]), index, tf.reduce_mean(x, 0)[:2])
    return tf.concat([parts, changed, tf.math.unsorted_segment_sum(x[0], [0, 1, 0, 1], 2)], 0)


def slices(x: Any) -> Any:
    shape = tf.shape(x)
    return {
        "middle": x[:, 1:-1, ::2],
        "half": x[:, : shape[1] // 2],
        "mirror": tf.reverse(x, [1]),
        "rolled": tf.roll(x, 1, axis=2),
        "pieces": tf.concat(tf.split(x, [2, 4], axis=2)[::-1], 2),
        "stack": tf.stack(tf.unstack(x, axis=2)[:3], 1),
        "tiled": tf.tile(x, [1, 1, 2]),
        "spread": tf.broadcast_to(x[:, :1], shape),
        "flat": tf.reshape(x, [shape[0], -1]),
    }


def scan(x: Any) -> Any:
    return tf.scan(lambda total, row: total + row, x)


def pads(x: Any) -> Any:
    paddings = [[0, 0], [1, 2], [2, 1], [0, 0]]
    parts = [tf.pad(x, paddings, mode) for mode in ("CONSTANT", "REFLECT", "SYMMETRIC")]
    return tf.concat([*parts, tf.pad(x, paddings, constant_values=7.0)], -1)


def resizes(image: Any) -> Any:
    shape = tf.shape(image)[1:3]
    return {
        "twice": tf.image.resize(image, shape * 2),
        "fixed": tf.image.resize(image, [9, 7]),
        "nearest": tf.image.resize(image, [11, 6], method="nearest"),
    }


def resize_cubic(image: Any) -> Any:
    return tf.image.resize(image, [12, 10], method="bicubic")


def crops(image: Any, boxes: Any) -> Any:
    return tf.image.crop_and_resize(image, boxes, tf.zeros(tf.shape(boxes)[:1], tf.int32), [5, 5])


def detections(boxes: Any, scores: Any) -> Any:
    chosen = tf.image.non_max_suppression(boxes, scores, 5, 0.5, 0.1)
    return {"kept": tf.gather(boxes, chosen), "best": tf.gather(scores, chosen)}


def top_k(scores: Any) -> Any:
    values, indices = tf.math.top_k(scores, 4)
    return {"values": values, "indices": indices, "sorted": tf.sort(scores, direction="DESCENDING")}


def running(x: Any) -> Any:
    return {"sum": tf.cumsum(x, 1, exclusive=True), "back": tf.cumsum(x, 1, reverse=True)}


def loop(x: Any) -> Any:
    weight = _weight(4, 4) / 4
    return tf.while_loop(lambda step, _: step < 6, lambda step, y: (step + 1, tf.tanh(y @ weight)), (0, x))[1]


def loop_on_data(x: Any) -> Any:
    return tf.while_loop(lambda y: tf.reduce_max(tf.abs(y)) > 0.1, lambda y: y / 2, (x,))[0]


def branches(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.nn.relu(x) * 3, lambda: tf.exp(x) - 1)


def mapped(x: Any) -> Any:
    weight = _weight(3, 2)
    return tf.map_fn(lambda row: tf.reduce_sum(row @ weight, 0), x)


def spectrum(x: Any) -> Any:
    return tf.abs(tf.signal.rfft(x))


def spectrogram(x: Any) -> Any:
    return tf.abs(tf.signal.stft(x, 64, 32))


def pixels(x: Any) -> Any:
    return {
        "deep": tf.nn.space_to_depth(x, 2),
        "wide": tf.nn.depth_to_space(x, 2),
        "patches": tf.image.extract_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
    }


def pools(x: Any) -> Any:
    return {
        "max": tf.nn.max_pool2d(x, 3, 2, "SAME"),
        "average": tf.nn.avg_pool2d(x, 3, 2, "SAME"),
        "local": tf.nn.local_response_normalization(x, 2),
    }


def losses(scores: Any, labels: Any) -> Any:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=scores)


def ranges(x: Any) -> Any:
    length = tf.shape(x)[1]
    places = tf.cast(tf.range(length), tf.float32) / tf.cast(length, tf.float32)
    return x + places[tf.newaxis, :, tf.newaxis] + tf.linspace(0.0, 1.0, 3) + tf.eye(3)[0]


def masks(x: Any) -> Any:
    length = tf.shape(x)[1]
    steps = tf.sequence_mask([2], length, dtype=tf.float32)
    return x * steps[..., tf.newaxis] + tf.where(tf.math.is_nan(x), 0.0, x)


def gelu_exact(x: Any) -> Any:
    return tf.nn.gelu(x @ _weight(4, 5), approximate=False)


def table(key: Any) -> Any:
    return _TABLE.lookup(key)


def lookup(key: Any) -> Any:
    return tf.gather(_weight(7), key) + tf.cast(tf.searchsorted([1, 3, 5], key), tf.float32)


def lanczos(image: Any) -> Any:
    return tf.image.resize(image, [7, 9], method="lanczos3")


def antialiased(image: Any) -> Any:
    return tf.image.resize(image, [3, 4], antialias=True)


def inverse(x: Any) -> Any:
    return tf.linalg.inv(x + 4 * tf.eye(3))


def _boxes() -> dict[str, Any]:
    rng = np.random.default_rng(4)
    corner = rng.uniform(0, 0.5, (6, 2))
    return {"boxes": np.concatenate([corner, corner + rng.uniform(0.2, 0.5, (6, 2))], 1).astype(np.float32)}


def _scored_boxes() -> dict[str, Any]:
    scores = np.random.default_rng(5).uniform(0.2, 1, 6).astype(np.float32)
    return _boxes() | {"scores": scores}


_TABLE = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant([0, 2], tf.int64), tf.constant([5, 6], tf.int64)), -1
)
_SAMPLES = {"crops": _boxes, "detections": _scored_boxes}
