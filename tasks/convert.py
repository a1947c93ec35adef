"""Step 4: one signature of a SavedModel becomes an ONNX graph, with TensorFlow's own answers."""

from __future__ import annotations

from pathlib import Path

from tasks.children.workspace import Workspace
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
