"""Applies every rewrite to a graph, in place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tasks.tensorflow.rewrites import (  # noqa: F401 (each registers itself)
    angles,
    bits,
    brain_float,
    colours,
    computed_indices,
    counting,
    cropping,
    diagonals,
    dilated_convolution,
    einsums,
    exact_gelu,
    fake_quantisation,
    fixed_resize,
    integer_division,
    lookup_tables,
    loop_bounds,
    loops,
    near_zero,
    nearest_resize,
    patches,
    plain_forms,
    products,
    ragged_rows,
    reductions,
    remainders,
    running,
    scatters,
    segments,
    selections,
    small_matrices,
    spectra,
    suppression,
    switches,
    tensor_arrays,
    updates,
)
from tasks.tensorflow.rewrites.rules import RULES, Pair, Rewrite, Site

FIRST: Mapping[str, Rewrite] = {
    "TensorListStack": loops.steps_at_once,
    "Case": switches.switch,
    "StatelessCase": switches.switch,
    "LookupTableFindV2": lookup_tables.find,
    **dict.fromkeys(("While", "StatelessWhile"), suppression.in_one_loop),
}
"""Applied before all others, and the operations that they replace are removed. Other rewrites need the shapes
behind a vectorised loop or a table, and tf2onnx cannot even read a Case."""

DECIDED: Mapping[str, Rewrite] = {"If": switches.decided, "StatelessIf": switches.decided}
"""Applied with FIRST, unless tf2onnx cannot read the conditions inside the branches."""

_NOT_IN_A_SCOPE = re.compile(r"[^A-Za-z0-9_.\\/-]")


def apply_rewrites(
    graph: Any, tables: dict[str, tuple[Any, Any]] | None = None, rules: Mapping[str, Rewrite] = RULES
) -> dict[str, str]:
    """Rewrite `graph` (a `tf.Graph`): readers of a rewritten operation read its replacement.

    The old operations stay in the graph, unread. The new operations are named below the old name, so
    that a later error still names the layer.

    Returns:
        Names of the new tensors, by the names of the tensors that they replace.
    """
    pairs: dict[str, Pair] = {}
    replaced: dict[str, str] = {}
    with graph.as_default():
        for op in graph.get_operations():  # inputs come before their readers
            if op.type not in rules:
                continue
            inputs = [pairs.get(tensor.name, tensor) for tensor in op.inputs]
            with tf.name_scope(_NOT_IN_A_SCOPE.sub("_", op.name) + "/"), graph.control_dependencies(None):
                results = rules[op.type](Site(op=op, inputs=inputs, tables=tables or {}))
            for old, new in zip(op.outputs, results or (), strict=False):
                if isinstance(new, Pair):
                    pairs[old.name] = new
                elif new is not None:
                    _redirect(old, new)
                    replaced[old.name] = new.name
    return replaced


def _redirect(old: Any, new: Any) -> None:
    for reader in old.consumers():
        for index, tensor in enumerate(reader.inputs):
            if tensor is old:
                reader._update_input(index, new)  # noqa: SLF001 (TensorFlow has no public way)
    if isinstance(old.graph, tf.__internal__.FuncGraph):
        outputs: Sequence[Any] = old.graph.outputs
        old.graph.outputs = [new if tensor is old else tensor for tensor in outputs]
