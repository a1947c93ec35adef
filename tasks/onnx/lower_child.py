"""Child: makes a graph ready for TensorRT: simplified, in the requested precision, checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnx import ModelProto, ValueInfoProto, checker, shape_inference

from tasks.children.plugin_domain import PLUGIN_DOMAIN
from tasks.children.weights import Scratch, opened, save
from tasks.domain.errors import OperationUnsupported
from tasks.domain.request import QUANTISED, Precision
from tasks.onnx.casts import cast_to
from tasks.onnx.lift import lift
from tasks.onnx.low_float import LOW_FLOATS
from tasks.onnx.opset import in_opset
from tasks.onnx.quantise.quantise import quantise, wanted_from
from tasks.onnx.simplify import simplified
from tasks.onnx.structure import Interface, all_nodes, interface

_LONGEST_MESSAGE = 600


def main(request: dict[str, Any], report: Callable[[str, float], None]) -> dict[str, Any]:
    """Lower `request["raw"]` to `request["lowered"]`: simplified, in `opset` at least, and in `precision`.

    FP16 or BF16 arithmetic of the model itself is lifted to FP32 first.

    Raises:
        OperationUnsupported: the result is not valid ONNX, or has other inputs or outputs, or an operation
            has no form in the opset.
        ModelRefused: the graph refers to weights outside the file beside it.
        RequestInvalid: no operation of the graph can compute in the precision.
        SamplesInvalid: the samples to measure INT8 or FP8 on do not fit the graph's inputs.
    """
    report("load", 0.0)
    with opened(Path(request["raw"])) as (raw, room):
        wanted, before = interface(raw.graph), _count(raw)
        lift(raw, room)
        report("simplify", 0.1)
        model = simplified(raw, room)
        model = _checked(model, "after simplification", "report it with the model's structure")
        model = in_opset(model, request["opset"])
        precision, quantisation = Precision(request["precision"]), None
        if precision is not Precision.FP32:
            model = _checked(model, f"in opset {request['opset']}", "report it with the model's structure")
            model, quantisation = _in_precision(model, request, room, report)
            fix = f"leave {precision} out of precisions in build.yaml, and report it"
            model = _checked(model, f"in {precision}", fix)
        _same_interface(interface(model.graph), wanted)
        report("write", 0.9)
        weights = save(model, Path(request["lowered"]), one_file=request["one_file"])
    return {
        "nodes": _count(model),
        "nodes_before": before,
        "weights": None if weights is None else str(weights),
        "quantisation": quantisation,
    }


def _in_precision(
    model: ModelProto, request: dict[str, Any], room: Scratch, report: Callable[[str, float], None]
) -> tuple[ModelProto, dict[str, Any] | None]:
    """Return `model` with the precision written into it, and its quantisation, if any."""
    precision = Precision(request["precision"])
    if precision in QUANTISED:
        return quantise(model, wanted_from(request), room, report)
    report(f"cast to {precision}", 0.6)
    cast_to(model, LOW_FLOATS[precision])
    room.keep(model)
    return model, None


def _same_interface(actual: tuple[Interface, Interface], wanted: tuple[Interface, Interface]) -> None:
    if actual != wanted:
        raise OperationUnsupported(
            wanted=f"a graph with inputs {wanted[0]} and outputs {wanted[1]}",
            found=f"after lowering, inputs {actual[0]} and outputs {actual[1]}",
            fix="give each output of the model its own name and operation, and report it",
        )


def _checked(model: ModelProto, when: str, fix: str) -> ModelProto:
    """Return `model` with every type and shape inferred again; invalid ONNX is refused."""
    plugin_types = _types_of_plugins(model)
    del model.graph.value_info[:]
    model.graph.value_info.extend(plugin_types)
    try:
        checker.check_model(model)
        inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise OperationUnsupported(
            wanted=f"a valid ONNX graph {when}",
            found=" ".join(str(error).split())[:_LONGEST_MESSAGE],
            fix=fix,
        ) from error
    for index in reversed(range(len(inferred.graph.value_info))):
        kind = inferred.graph.value_info[index].type
        if kind.WhichOneof("value") in {None, "tensor_type"} and not kind.tensor_type.elem_type:
            del inferred.graph.value_info[index]
    return inferred


def _types_of_plugins(model: ModelProto) -> list[ValueInfoProto]:
    """Return the types of the plugins' outputs: the conversion set them, and nothing can infer them."""
    outputs = {name for node in model.graph.node if node.domain == PLUGIN_DOMAIN for name in node.output}
    return [value for value in model.graph.value_info if value.name in outputs]


def _count(model: ModelProto) -> int:
    return sum(1 for _ in all_nodes(model.graph))
