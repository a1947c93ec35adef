"""Tells whether two ONNX graphs compute the same, whatever their inner names and order of nodes are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx


class NoGraphError(Exception):
    """There is no usable graph; the text says why."""


def described(path: Path, opset: int) -> tuple[int, str]:
    """Return how many nodes the graph at `path` has, and a digest of what it computes.

    Raises:
        NoGraphError: an operation is left that ONNX does not have at `opset`.
    """
    graph = onnx.load(path).graph
    left = {node.op_type for node in graph.node if not onnx.defs.has(node.op_type, opset, node.domain)}
    if left:
        raise NoGraphError(f"{', '.join(sorted(left))} left in the graph")
    known = {value.name: f"input {value.name}" for value in graph.input}
    for tensor in graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        known[tensor.name] = _sha256(str((array.dtype, array.shape)).encode(), array.tobytes())
    for node in graph.node:
        attributes = sorted(
            (attribute.name, attribute.SerializeToString(deterministic=True)) for attribute in node.attribute
        )
        inputs = [known.get(name, name) for name in node.input]
        digest = _sha256(repr((node.domain, node.op_type, attributes, inputs)).encode())
        known.update({name: f"{digest} {index}" for index, name in enumerate(node.output)})
    return len(graph.node), _sha256(
        repr([(value.name, known[value.name]) for value in graph.output]).encode()
    )


def _sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
