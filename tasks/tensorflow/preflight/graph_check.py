"""Refuses a parsed `saved_model.pb` by the operations that loading and serving it would run.

Only reached operations count: a model's saver may write checkpoints, its serving signature may not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from tasks.domain.errors import FarmError, ModelRefused
from tasks.domain.layers import placed
from tasks.tensorflow.preflight.graph_need import nodes_needed
from tasks.tensorflow.preflight.graph_ops import CHECKPOINTS, LEFT_FROM_TRAINING, SERVED, UNNEEDED
from tasks.tensorflow.preflight.graph_reach import (
    PlacedNode,
    nodes_of_restore,
    nodes_of_save,
    nodes_of_signature,
    nodes_run_by_load,
)
from tasks.tensorflow.preflight.graph_rules import (
    NEVER_RUN,
    NOT_IN_AN_ENGINE,
    READS_CHECKPOINTS,
    TOO_NARROW,
    WRITES_CHECKPOINTS,
    OpRule,
    first_match,
    is_number_table,
)
from tasks.tensorflow.preflight.graph_size import check_size
from tasks.tensorflow.signatures import (
    Signature,
    choose_signature,
    read_signature,
    signature_names,
)

_LONGEST_NAME = 255
_UNKNOWN = "enginefarm does not know as computation on tensors alone"
_OUT = "out of what is loaded and served, or replace it by operations on tensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """What is refused.

    Attributes:
        refused: rules for operations with words of their own.
        known: all other operations that may be in functions; None for all.
        left: operations that may also be in the main graph.
    """

    refused: tuple[OpRule, ...]
    known: frozenset[str] | None = None
    left: frozenset[str] = frozenset()


_SERVED = SERVED | UNNEEDED
_REFUSED = NEVER_RUN + READS_CHECKPOINTS + WRITES_CHECKPOINTS
_ON_LOAD = _Rules(refused=_REFUSED, known=_SERVED, left=LEFT_FROM_TRAINING)
_ON_RESTORE = _Rules(refused=NEVER_RUN + WRITES_CHECKPOINTS, known=_SERVED | CHECKPOINTS)
_ON_SAVE = _Rules(refused=NEVER_RUN, known=_SERVED | CHECKPOINTS)
_IN_SIGNATURES = _Rules(refused=_REFUSED, known=_SERVED)
_IN_ENGINES = _Rules(refused=NOT_IN_AN_ENGINE)


def check_graph(graph: Any) -> None:
    """Refuse what loading `graph`, or serving the signature that a request gets by default, would run.

    If that signature is refused, or there is no default, it is enough that another signature can be
    converted: the request may name it, and `check_signature` is called for it.

    Raises:
        ModelRefused: an operation, input or output is refused; the error names it.
        SignatureUnknown: there is no signature.
    """
    check_size(graph)
    _check_assets(graph)
    functions = _functions(graph)
    _check_nodes(nodes_run_by_load(graph), _ON_LOAD, functions, "when TensorFlow loads or serves the model")
    _check_nodes(nodes_of_restore(graph), _ON_RESTORE, functions, "when the checkpoint is read")
    _check_nodes(nodes_of_save(graph), _ON_SAVE, functions, "when a checkpoint is written")
    try:
        check_signature(graph, choose_signature(graph, None))
    except FarmError:
        if not any(_is_accepted(graph, name) for name in signature_names(graph)):
            raise


def check_signature(graph: Any, name: str) -> Signature:
    """Return signature `name` after checking everything that it runs, and what its outputs need.

    Raises:
        ModelRefused: as `check_graph`.
    """
    signature = read_signature(graph, name)
    _check_names(signature)
    functions, when = _functions(graph), f"in signature {name}"
    _check_nodes(nodes_of_signature(graph, name), _IN_SIGNATURES, functions, when)
    needed = list(nodes_needed(graph, name))
    _check_nodes(needed, _IN_ENGINES, functions, when)
    _check_types(needed)
    return signature


def _check_types(nodes: Iterable[PlacedNode]) -> None:
    for place, node in nodes:
        kinds = (value.type for value in node.attr.values())
        kind = next((TOO_NARROW[kind] for kind in kinds if kind in TOO_NARROW), None)
        if kind is not None:
            raise ModelRefused(
                wanted="computation in floats of 16 bits or more, and in whole numbers",
                found=f"operation {node.op} ({placed(node.name)}{place}) of type {kind}",
                fix="upload it as it was before it was quantised, and request fp8 or int8 in build.yaml",
            )


def _check_assets(graph: Any) -> None:
    for asset in graph.asset_file_def:
        path = PurePosixPath(asset.filename)
        if path.is_absolute() or ".." in path.parts:
            raise ModelRefused(
                wanted="assets in the model's own folder",
                found=asset.filename,
                fix="save the model again with tf.saved_model.save or model.export",
            )


def _check_names(signature: Signature) -> None:
    """Refuse names that could forge lines of the farm: they go into records, logs and keys."""
    names = (signature.name, *(tensor.name for tensor in (*signature.inputs, *signature.outputs)))
    for name in names:
        if not name.isprintable() or len(name) > _LONGEST_NAME:
            raise ModelRefused(
                wanted=f"names of at most {_LONGEST_NAME} printable characters in signature {names[0]!r}",
                found=repr(name[:_LONGEST_NAME]),
                fix="rename it and export the model again",
            )


def _is_accepted(graph: Any, name: str) -> bool:
    try:
        check_signature(graph, name)
    except ModelRefused:
        return False
    return True


def _functions(graph: Any) -> frozenset[str]:
    """Return the functions of the model, which nodes may name as their operation."""
    return frozenset(function.signature.name for function in graph.graph_def.library.function)


def _check_nodes(nodes: Iterable[PlacedNode], rules: _Rules, functions: frozenset[str], when: str) -> None:
    accepted = set[tuple[bool, str]]()  # a graph has many nodes of few kinds
    for place, node in nodes:
        kind = bool(place), node.op
        if kind in accepted or is_number_table(node):
            continue
        rule = first_match(node.op, rules.refused)
        if rule is None and (_is_known(place, node.op, rules) or node.op in functions):
            accepted.add(kind)
            continue
        why, advice = (rule.why, rule.advice) if rule else (_UNKNOWN, f"leave {node.op} {_OUT}")
        raise ModelRefused(
            wanted=f"only computation on tensors {when}",
            found=f"operation {node.op} ({placed(node.name)}{place}), which {why}",
            fix=advice,
        )


def _is_known(place: str, op: str, rules: _Rules) -> bool:
    return rules.known is None or op in rules.known or (not place and op in rules.left)
