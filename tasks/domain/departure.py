"""Where the values of an engine first differ from those of its graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
class InnerValues:
    """What onnxruntime computes for the tensors inside a graph.

    Attributes:
        corner: the corner of the reference that the inputs are from.
        file: an `.npz` with an array per tensor, named by its index in `tensors`.
        tensors: float tensors in topological order.
    """

    corner: str
    file: Path
    tensors: tuple[InnerTensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """The first tensor of an engine that differs from the graph's, as far as the search got.

    Attributes:
        at: that tensor; None if it was not found.
        relative: its largest |difference| to onnxruntime over the largest |value|; None if it was not found.
        corner: the shapes at which it was compared.
        builds: how many engines were built to find it.
        reason: how it was found, or why not.
    """

    at: InnerTensor | None
    relative: float | None
    corner: str
    builds: int
    reason: str

    def __str__(self) -> str:
        if self.at is None:
            return f"where it departs was not found: {self.reason}"
        error = "" if self.relative is None else f", {self.relative:.1e} off"
        place = f"{self.at.tensor} of node {self.at.node or '?'} ({self.at.op})"
        return f"it departs at {place}{error}: {self.reason}"
