"""Makes a graph ready for TensorRT: simplified, in the asked precision, checked. In a child process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnxslim
from onnx import ModelProto, checker, shape_inference

from tasks.domain.errors import ModelRefused, OperationUnsupported
from tasks.onnx.half import cast_to_half
from tasks.onnx.structure import all_nodes, interface

_LONGEST_MESSAGE = 600


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Lower `request["raw"]` to `request["lowered"]`, with FP16 casts where `request["half"]`.

    Raises:
        OperationUnsupported: the result is not valid ONNX, or has other inputs or outputs.
        ModelRefused: the result does not fit into one ONNX file.
    """
    report("load", 0.0)
    model = onnx.load(request["raw"])
    _fits(model)
    wanted = interface(model.graph)
    before = _count(model)
    report("simplify", 0.1)
    model = _checked(_simplified(model), "after simplification", "report it with the model's structure")
    if request["half"]:
        report("cast to FP16", 0.6)
        cast_to_half(model)
        model = _checked(
            model, "with FP16 casts", "leave fp16 out of precisions in build.yaml, and report it"
        )
    found = interface(model.graph)
    if found != wanted:
        raise OperationUnsupported(
            wanted=f"a graph with inputs {wanted[0]} and outputs {wanted[1]}",
            found=f"after lowering, inputs {found[0]} and outputs {found[1]}",
            fix="give each output of the model a name and an operation of its own, and report it",
        )
    report("write", 0.9)
    _fits(model)
    onnx.save(model, request["lowered"])
    return {"nodes": _count(model), "nodes_before": before}


def _simplified(model: ModelProto) -> ModelProto:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    simple: ModelProto = onnxslim.slim(model)
    # onnxslim drops inputs that nothing reads, but whoever serves the model feeds the signature's.
    del simple.graph.input[:]
    simple.graph.input.extend(inputs)
    return simple


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


def _fits(model: ModelProto) -> None:
    size = model.ByteSize()
    if size >= checker.MAXIMUM_PROTOBUF:
        raise ModelRefused(
            wanted="a graph below 2 GiB, the most that one ONNX file holds",
            found=f"{size / 2**30:.2f} GiB",
            fix="split the model, or store its weights in a smaller type",
        )


def _count(model: ModelProto) -> int:
    return sum(1 for _ in all_nodes(model.graph))
