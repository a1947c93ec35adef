"""What detectors are made of, for convert_functions.py: crops, and suppression in each of its ways."""

# TensorFlow has no types of its own.
# mypy: disable-error-code="misc"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

CASES: dict[str, Any] = {}
_ONE_IMAGE = {
    "boxes": {"min": [6, 4], "opt": [9, 4], "max": [12, 4]},
    "scores": {"min": [6], "opt": [9], "max": [12]},
}
_CROPS = {"boxes": _ONE_IMAGE["boxes"]}


def case(
    name: str,
    suppress: Callable[..., Any],
    outputs: str,
    boxes: tuple[int | None, ...] = (None, 4),
    scores: tuple[int | None, ...] = (None,),
) -> None:
    """Register a suppression of boxes that overlap."""

    def serve(boxes: Any, scores: Any) -> dict[str, Any]:
        low, size = tf.split(tf.sigmoid(boxes) / 2, 2, axis=-1)
        selected = suppress(tf.concat([low, low + size], -1), scores)
        return dict(zip(outputs.split(), selected, strict=True))

    specs = [tf.TensorSpec(boxes, tf.float32, "boxes"), tf.TensorSpec(scores, tf.float32, "scores")]
    CASES[name] = (serve, specs, _ONE_IMAGE if boxes[0] is None and len(boxes) == 2 else None)


case("plain", lambda a, b: [tf.image.non_max_suppression(a, b, 5, 0.5, 0.1)], "kept")
case("scored", lambda a, b: tf.image.non_max_suppression_with_scores(a, b, 5, 0.4, 0.1), "kept rest")
case("soft", lambda a, b: tf.image.non_max_suppression_with_scores(a, b, 5, soft_nms_sigma=0.5), "kept rest")
case(
    "padded",
    lambda a, b: tf.image.non_max_suppression_padded(a, b, 5, 0.5, 0.1, pad_to_max_output_size=True),
    "kept count",
)
for _name, _of_a_box, _options in (
    ("combined", 1, {}),
    ("combined_by_class", 3, {}),
    ("combined_padded", 3, {"pad_per_class": True, "clip_boxes": False}),
):
    case(
        _name,
        lambda a, b, options=_options: tf.image.combined_non_max_suppression(a, b, 5, 7, 0.5, 0.1, **options),
        "boxes scores classes count",
        (None, 8, _of_a_box, 4),
        (None, 8, 3),
    )


def crops(name: str, size: Callable[[Any], Any], method: str) -> None:
    """Register crops of boxes that reach over the image's borders."""

    def serve(boxes: Any, image: Any) -> dict[str, Any]:
        owners = tf.zeros(tf.shape(boxes)[:1], tf.int32)
        places = tf.sigmoid(boxes) * 1.2 - 0.1
        return {"crops": tf.image.crop_and_resize(image, places, owners, size(boxes), method)}

    specs = [tf.TensorSpec((None, 4), tf.float32, "boxes"), tf.TensorSpec((1, 12, 12, 3), name="image")]
    CASES[name] = (serve, specs, _CROPS)


crops("crop_bilinear", lambda _: (5, 4), "bilinear")
crops("crop_nearest", lambda _: (5, 4), "nearest")
crops("crop_one_line", lambda _: (1, 4), "bilinear")
crops("crop_to_any_size", lambda boxes: tf.maximum(tf.shape(boxes)[0] // [1, 2] - 3, 1), "bilinear")
