"""Step 4: one signature of a SavedModel becomes an ONNX graph, with TensorFlow's own answers."""

from __future__ import annotations

from pathlib import Path

from tasks.children.workspace import Workspace
from tasks.onnx_release.models import CheckedOnnx, take_in
from tasks.step import step
from tasks.tensorflow.models import ConversionWanted, Converted, convert_saved_model


@step
async def convert(saved_model: Path, wanted: ConversionWanted, *, work: Workspace) -> Converted:
    """Convert with tf2onnx, and run TensorFlow at each corner of the shapes.

    Raises:
        SignatureUnknown: the model has no such signature.
        OperationUnsupported: an operation has no ONNX form.
        RequestInvalid: the shapes do not fit the model.
        SamplesInvalid: the samples do not fit the model.
    """
    return await convert_saved_model(saved_model, wanted, work=work)


@step
async def answer(checked: CheckedOnnx, wanted: ConversionWanted, *, work: Workspace) -> Converted:
    """Let onnxruntime answer for a model that is ONNX already, at each corner of the shapes.

    Raises:
        OperationUnsupported: the opset is above the wanted one, or only plugins compute operations.
        SignatureUnknown: the request names a signature.
        RequestInvalid: the shapes do not fit the model.
        SamplesInvalid: the samples do not fit the model.
    """
    return await take_in(checked, wanted, work=work)
