"""Lookups of numbers in a static table, as in `keras.layers.IntegerLookup`.

tf2onnx writes an operation of the domain ai.onnx.ml, which TensorRT does not read. The contents of the
table are known after loading. So the keys become sorted constants with a binary search: log2(n) steps of one
gather. Lookups of strings stay refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tasks.tensorflow.rewrites.rules import Site, rewrites

_FIND, _TABLE = "LookupTableFindV2", "HashTableV2"


def read_tables(function: Any, graph: Any) -> dict[str, tuple[Any, Any]]:
    """Return keys and values of each table that `graph` (the frozen `function`) reads, by its tensor."""
    handles = {inner.name: outer for outer, inner in function.graph.captures}
    nodes = {node.name: node for node in graph.node}
    tables: dict[str, tuple[Any, Any]] = {}
    for node in graph.node:
        if node.op != _FIND:
            continue
        source = nodes.get(node.input[0].split(":")[0])
        while source is not None and source.op == "Identity":
            source = nodes.get(source.input[0].split(":")[0])
        name = f"{source.name}:0" if source is not None else ""
        handle = handles.get(name, _shared_table(source))
        if handle is not None:
            exported = tf.raw_ops.LookupTableExportV2(
                table_handle=handle,
                Tkeys=tf.dtypes.as_dtype(node.attr["Tin"].type),
                Tvalues=tf.dtypes.as_dtype(node.attr["Tout"].type),
            )
            tables[name] = exported.keys.numpy(), exported.values.numpy()
    return tables


def _shared_table(node: Any) -> Any:
    """Return the table that `node` creates, as in graphs of TensorFlow 1; None if it has no name."""
    if node is None or node.op != _TABLE or not node.attr["shared_name"].s:
        return None
    return tf.raw_ops.HashTableV2(
        key_dtype=tf.dtypes.as_dtype(node.attr["key_dtype"].type),
        value_dtype=tf.dtypes.as_dtype(node.attr["value_dtype"].type),
        container=node.attr["container"].s,
        shared_name=node.attr["shared_name"].s,
    )


@rewrites(_FIND)
def find(site: Site) -> list[Any] | None:
    """Return the values of the keys, and the default for absent keys."""
    table, queries, default = site.inputs
    while table.op.type == "Identity":
        table = table.op.inputs[0]
    keys, values = site.tables.get(table.name, (None, None))
    if keys is None or not keys.size or keys.dtype.kind not in "iu" or values.dtype.kind not in "iuf":
        return None
    order = np.argsort(keys)
    ordered = tf.constant(keys[order])
    place = tf.zeros_like(queries, tf.int32)
    step = 1 << (int(keys.size) - 1).bit_length()
    while step:
        further = tf.minimum(place + step, int(keys.size) - 1)
        place = tf.where(tf.gather(ordered, further) <= queries, further, place)
        step //= 2
    present = tf.equal(tf.gather(ordered, place), queries)
    return [tf.where(present, tf.gather(tf.constant(values[order]), place), default)]
