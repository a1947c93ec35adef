"""Where an engine leaves the graph that it was built from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerTensor:
    """A tensor between two nodes of an ONNX graph.

    Attributes:
        tensor: its name.
        node: name of the node that makes it.
        op: that node's operation.
    """

    tensor: str
    node: str
    op: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """The first tensor of an engine that is not the graph's, as far as it was found.

    Attributes:
        at: that tensor; None where it was not found.
        relative: its largest |difference| to onnxruntime over the largest |value|; None where not found.
        corner: the shapes at which that was.
        builds: how many engines were built to find it.
        reason: how it was found, or why not, for people.
    """

    at: InnerTensor | None
    relative: float | None
    corner: str
    builds: int
    reason: str
