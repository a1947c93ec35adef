"""Rows of a ragged tensor.

How many values the rows have together depends on which rows they are. ONNX has `Compress` for this, which
TensorRT has not, and tf2onnx also makes ragged tensors dense by it. Known lengths, or a known longest one,
are enough for a plain gather.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, refuse, rewrites
from tasks.tensorflow.rewrites.values import static_value


@rewrites("RaggedGather")
def gathered(site: Site) -> list[Any]:
    """Return the row splits and the values of some rows."""
    *nested, values, rows = site.inputs
    splits, wanted = static_value(nested[-1]), static_value(rows)
    if len(nested) > 1 or splits is None or wanted is None or wanted.ndim != 1:
        refuse(site)
    places = [place for row in wanted for place in range(splits[row], splits[row + 1])]
    lengths = np.diff(splits)[wanted]
    new_splits = np.concatenate([[0], np.cumsum(lengths)]).astype(splits.dtype)
    return [tf.constant(new_splits), tf.gather(values, tf.constant(places, tf.int64))]


@rewrites("RaggedTensorToTensor")
def dense(site: Site) -> list[Any] | None:
    """Return the rows in a dense tensor: behind the end of a row, a further row of default values is read."""
    shape, values, default, *partition = site.inputs
    if list(site.attr("row_partition_types")) != [b"ROW_SPLITS"]:
        return None
    splits, known = partition[0], static_value(partition[0])
    sizes = static_value(shape)
    if sizes is None or (sizes.ndim == 1 and sizes[0] != -1):
        return None
    longest = int(sizes[1]) if sizes.ndim == 1 else -1
    if longest < 0:
        if known is None:
            refuse(site)
        longest = int(np.diff(known).max(initial=0))
    default_row = tf.broadcast_to(default, tf.shape(values)[1:])[None]
    columns = tf.range(longest, dtype=splits.dtype)
    places = splits[:-1, None] + columns
    end = tf.shape(values, splits.dtype)[0]
    places = tf.where(places < splits[1:, None], places, end)
    return [tf.gather(tf.concat([values, default_row], 0), places)]


@rewrites("RaggedRange")
def ranges(site: Site) -> None:
    """Refuse ranges: how many numbers they are depends on values."""
    refuse(site)
