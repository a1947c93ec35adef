"""Child: computes the tensors inside a graph in onnxruntime, at one corner."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, TensorProto, shape_inference

from tasks.children.arrays import write_arrays
from tasks.children.reference import Corner, read_reference
from tasks.onnx.emulate import emulate
from tasks.onnx.session_child import open_session, run_corner

_FLOATS = {TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2}


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Write the values of the float tensors between the nodes of the graph.

    Args:
        request: `onnx`, `reference`, `corner` (a name in the reference), `values` (the `.npz` to write, with
            an array per tensor, named by its index in the answer) and `most_mib`: if the tensors are larger,
            some are left out at even intervals.
        report: takes the progress.

    Returns:
        `tensors`: `tensor`, `node` and `op` of each, in topological order.

    Raises:
        VerificationFailed: onnxruntime does not run the graph with all of them as outputs.
        ChildOutOfMemory: it could not allocate enough memory.
    """
    path = Path(request["onnx"])
    report("load", 0.0)
    corners = read_reference(Path(request["reference"]))
    corner = next(candidate for candidate in corners if candidate.name == request["corner"])
    model = onnx.load(path, load_external_data=False)
    rows = _within(_candidates(model, corner), request["most_mib"] << 20)
    emulate(model)
    model.graph.output.extend(onnx.ValueInfoProto(name=row["tensor"]) for row in rows)
    report("run", 0.5)
    values = run_corner(open_session(path, model.SerializeToString()), corner, path)
    kept = {str(place): values[row["tensor"]] for place, row in enumerate(rows)}
    write_arrays(Path(request["values"]), kept)
    return {"tensors": [{name: row[name] for name in ("tensor", "node", "op")} for row in rows]}


def _candidates(model: ModelProto, corner: Corner) -> list[dict[str, Any]]:
    """Return the float tensors between the nodes, with their size for the shapes of `corner`."""
    shaped = ModelProto()
    shaped.CopyFrom(model)
    for value in shaped.graph.input:
        if value.name in corner.inputs:
            for dimension, size in zip(
                value.type.tensor_type.shape.dim, corner.inputs[value.name].shape, strict=True
            ):
                dimension.dim_value = size
    inferred = shape_inference.infer_shapes(shaped, data_prop=True).graph
    types = {value.name: value.type.tensor_type for value in inferred.value_info}
    rows = []
    for node in model.graph.node:
        for name in node.output:
            kind = types.get(name)
            if kind is not None and kind.elem_type in _FLOATS:
                sizes = [dimension.dim_value or 1 for dimension in kind.shape.dim]
                size = prod(sizes) * _FLOATS[kind.elem_type]
                rows.append({"tensor": name, "node": node.name, "op": node.op_type, "size": size})
    return rows


def _within(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    step = 1
    while sum(row["size"] for row in rows[::step]) > most and step < len(rows):
        step += 1
    return rows[::step]
