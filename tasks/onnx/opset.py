"""Lifts a graph to a newer opset: tf2onnx ends at 18, and some precisions need a later one.

`onnx.version_converter` 1.23 can convert every operation of opset 17 up to 22. It keeps references to
external weights, and converts the bodies of Loop, If and Scan.
"""

from __future__ import annotations

from onnx import ModelProto, helper, version_converter

from tasks.domain.errors import OperationUnsupported

_LONGEST_MESSAGE = 400


def in_opset(model: ModelProto, wanted: int) -> ModelProto:
    """Return `model` with at least opset `wanted` for ONNX's own operations; other domains do not change.

    Raises:
        OperationUnsupported: the converter cannot convert one of its nodes.
    """
    current = opset_of(model)
    if current >= wanted:
        return model
    try:
        lifted: ModelProto = version_converter.convert_version(model, wanted)
    except RuntimeError as error:  # the converter raises no other class; its text names the operation
        raise OperationUnsupported(
            wanted=f"the graph in opset {wanted}, from opset {current}",
            found=" ".join(str(error).split())[:_LONGEST_MESSAGE],
            fix="ask for fp32, tf32 or fp16, which need no newer opset, or replace this operation's layer",
        ) from error
    # The converter keeps the version of the file format, which determines the element types.
    least = helper.find_min_ir_version_for(lifted.opset_import, ignore_unknown=True)
    lifted.ir_version = max(lifted.ir_version, least)
    return lifted


def opset_of(model: ModelProto) -> int:
    """Return the version of ONNX's own operations in `model`."""
    versions = {opset.domain: int(opset.version) for opset in model.opset_import}
    return versions[""] if "" in versions else versions["ai.onnx"]
