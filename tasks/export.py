"""Step 3: every form of a model becomes a SavedModel."""

from __future__ import annotations

from pathlib import Path

from tasks.children.workspace import Workspace
from tasks.step import step
from tasks.tensorflow.models import LocalModel, export_saved_model


@step
async def export(model: LocalModel, *, work: Workspace) -> Path:
    """Return the folder of a SavedModel of `model`.

    Raises:
        ModelUnreadable: Keras cannot load the model.
        ModelRefused: the exported graph contains something that no engine can contain.
    """
    return await export_saved_model(model, work=work)
