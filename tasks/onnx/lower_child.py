"""Makes a graph ready for TensorRT: simplified, in the asked precision, checked. In a child process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnx import ModelProto, checker, shape_inference

from tasks.children.weights import opened, save
from tasks.domain.errors import OperationUnsupported
from tasks.onnx.half import cast_to_half
from tasks.onnx.simplify import simplified
from tasks.onnx.structure import Interface, all_nodes, interface

_LONGEST_MESSAGE = 600


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Lower `request["raw"]` to `request["lowered"]`, with FP16 casts where `request["half"]`.

    Raises:
        OperationUnsupported: the result is not valid ONNX, or has other inputs or outputs.
        ModelRefused: the graph refers to weights elsewhere than beside it.
    """
    report("load", 0.0)
    with opened(Path(request["raw"])) as (raw, room):
        wanted, before = interface(raw.graph), _count(raw)
        report("simplify", 0.1)
        model = simplified(raw, room)
        model = _checked(model, "after simplification", "report it with the model's structure")
        if request["half"]:
            report("cast to FP16", 0.6)
            cast_to_half(model)
            room.keep(model)
            model = _checked(
                model, "with FP16 casts", "leave fp16 out of precisions in build.yaml, and report it"
            )
        _same_interface(interface(model.graph), wanted)
        report("write", 0.9)
        weights = save(model, Path(request["lowered"]), one_file=request["one_file"])
    return {
        "nodes": _count(model),
        "nodes_before": before,
        "weights": None if weights is None else str(weights),
    }


def _same_interface(found: tuple[Interface, Interface], wanted: tuple[Interface, Interface]) -> None:
    if found != wanted:
        raise OperationUnsupported(
            wanted=f"a graph with inputs {wanted[0]} and outputs {wanted[1]}",
            found=f"after lowering, inputs {found[0]} and outputs {found[1]}",
            fix="give each output of the model a name and an operation of its own, and report it",
        )


def _checked(model: ModelProto, when: str, fix: str) -> ModelProto:
    """Return `model` with every type and shape inferred anew; what is not valid ONNX is refused."""
    del model.graph.value_info[:]
    try:
        checker.check_model(model)
        inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise OperationUnsupported(
            wanted=f"a valid ONNX graph {when}",
            found=" ".join(str(error).split())[:_LONGEST_MESSAGE],
            fix=fix,
        ) from error
    return inferred


def _count(model: ModelProto) -> int:
    return sum(1 for _ in all_nodes(model.graph))
