"""Compares and builds, in one process, what `convert_functions.py` left in a folder.

Usage: build_functions.py FOLDER [PRECISION...]. Writes `built.json`: for each case what onnxruntime answered
against TensorFlow, and whether TensorRT-RTX built an engine, or what it said instead. With precisions this is
of each lowered graph, in `cells`, with the element types in it; else of the converted graph, and FP32.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx

from tasks.domain.compatibility import Compatibility
from tasks.domain.errors import FarmError
from tasks.domain.gpu_table import graph_opset
from tasks.domain.request import Precision
from tasks.onnx import compare_child, lower_child
from tasks.onnx.structure import subgraphs
from tasks.tensorrt.inside import build, probe

_MODULE, _CAPABILITY, _OPSET = "tensorrt_rtx", "8.9", 17


def _report(phase: str, fraction: float) -> None:
    del phase, fraction


def lowered(folder: Path, name: str, precision: str) -> str:
    """Return the graph of `name` in `precision`, made from that in FP32 where that is another."""
    path = str(folder / name / f"{precision}.onnx")
    raw = str(folder / name / "model.onnx") if precision == "fp32" else lowered(folder, name, "fp32")
    opset = graph_opset(_OPSET, Precision(precision))
    lowering = {"raw": raw, "lowered": path, "precision": precision, "opset": opset, "one_file": 1 << 30}
    lower_child.main(lowering, _report)
    return path


def target_of(probed: dict[str, Any]) -> dict[str, Any]:
    """Return the target to build for, with the library that was `probed`."""
    return {key: probed[key] for key in ("version", "os", "architecture")} | {
        "flavour": _MODULE, "gpu": None, "compute_capabilities": [_CAPABILITY],
    }  # fmt: skip


def engine(graph: str, plan: dict[str, Any], target: dict[str, Any], precision: str) -> str:
    """Build an engine of `graph`; return what became of it."""
    request = {
        "module": _MODULE, "target": target, "onnx": graph, "plan": f"{graph}.plan",
        "layers": f"{graph}.layers.json", "precision": precision, "profiles": plan["profiles"],
        "workspace_mib": 256, "optimization_level": 0, "gpu_index": None, "plugins": [],
        "compatibility": asdict(Compatibility()), "refittable": False, "stripped": False, "timing": None,
    }  # fmt: skip
    try:
        build.main(request, _report)
    except FarmError as error:
        return str(error)
    return "built"


def _comparisons(graph: str, reference: str) -> Any:
    request = {"onnx": graph, "reference": reference, "actual": None}
    return compare_child.main(request, _report)["comparisons"]


def _types(graph: onnx.GraphProto) -> set[int]:
    """Return the element types in `graph` and the graphs in it, without its own inputs and outputs."""
    types = {tensor.data_type for tensor in graph.initializer}
    border = {value.name for value in (*graph.input, *graph.output)}
    types |= {value.type.tensor_type.elem_type for value in graph.value_info if value.name not in border}
    for node in graph.node:
        for inner in subgraphs(node):
            values = (*inner.input, *inner.output)
            types |= _types(inner) | {value.type.tensor_type.elem_type for value in values}
    return types


def _cell(folder: Path, name: str, plan: dict[str, Any], target: dict[str, Any], precision: str) -> Any:
    graph, reference = lowered(folder, name, precision), str(folder / f"{name}.npz")
    types = _types(onnx.shape_inference.infer_shapes(onnx.load(graph)).graph)
    return {
        "graph": graph,
        "reference": reference,
        "types": sorted(onnx.TensorProto.DataType.Name(kind) for kind in types),
        "comparisons": _comparisons(graph, reference),
        "engine": engine(graph, plan, target, precision),
    }


def main(folder: Path, precisions: list[str]) -> None:
    """Compare and build every converted case."""
    target = target_of(probe.main({"module": _MODULE}, _report))
    answers: dict[str, Any] = {}
    for name, answer in json.loads((folder / "converted.json").read_text()).items():
        if "error" in answer:
            continue
        plan = answer["plan"]
        if precisions:
            cells = {precision: _cell(folder, name, plan, target, precision) for precision in precisions}
            answers[name] = {"cells": cells}
            continue
        converted = folder / name / "model.onnx"
        answers[name] = {
            "graph": str(converted),
            "nodes": [node.op_type for node in onnx.load(converted).graph.node],
        }
        try:
            graph = lowered(folder, name, "fp32")
            answers[name]["comparisons"] = _comparisons(graph, str(folder / f"{name}.npz"))
            if not answer["compared_only"]:
                answers[name]["engine"] = engine(graph, plan, target, "fp32")
        except FarmError as error:
            answers[name]["engine"] = str(error)
    (folder / "built.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
