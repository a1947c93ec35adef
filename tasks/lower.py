"""Step 5: the graph is simplified, and gets lower precision written into it if its TensorRT needs that."""

from __future__ import annotations

from pathlib import Path

from tasks.children.workspace import Workspace
from tasks.onnx.graph import GraphWanted, LoweredGraph, lower_graph
from tasks.step import step


@step
async def lower(raw: Path, wanted: GraphWanted, *, work: Workspace) -> LoweredGraph:
    """Return the graph of `raw` lowered to `wanted`, with the same inputs and outputs."""
    return await lower_graph(raw, wanted, work=work)
