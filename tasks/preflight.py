"""Step 2: what must never run is refused before anything runs it."""

from __future__ import annotations

from tasks.children.workspace import Workspace
from tasks.step import step
from tasks.tensorflow.models import LocalModel, preflight_model


@step
async def preflight(model: LocalModel, *, work: Workspace) -> LocalModel:
    """Check and unpack `model`; TensorFlow does not load it here.

    Raises:
        ArchiveRefused: the archive is broken or hostile.
        ModelRefused: the model holds what no engine can hold, or what the farm never runs.
        ModelUnreadable: its files are damaged.
    """
    return await preflight_model(model, work=work)
