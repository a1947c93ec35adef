"""Step 2: refuses what must never run, before anything runs it."""

from __future__ import annotations

from pathlib import Path

from tasks.children.workspace import Workspace
from tasks.onnx_release.models import CheckedOnnx, preflight_onnx
from tasks.step import step
from tasks.tensorflow.models import LocalModel, preflight_model


@step
async def preflight(model: LocalModel, *, work: Workspace) -> LocalModel:
    """Check and unpack `model`; TensorFlow does not load it here.

    Raises:
        ArchiveRefused: the archive is broken or hostile.
        ModelRefused: the model contains something that no engine can contain, or that the farm never runs.
        ModelUnreadable: its files are damaged.
    """
    return await preflight_model(model, work=work)


@step
async def preflight_graph(model: Path, *, work: Workspace) -> CheckedOnnx:
    """Check the ONNX model at `model`, whose external data is beside it.

    Raises:
        ModelRefused: it has what the farm never runs, or what no engine can hold.
        ModelUnreadable: its files are damaged or missing.
    """
    return await preflight_onnx(model, work=work)
