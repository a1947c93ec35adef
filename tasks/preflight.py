"""Step 2: what must never run is refused before anything runs it."""

from __future__ import annotations

from pathlib import Path

from tasks.children.run import Limits
from tasks.step import step
from tasks.tensorflow.models import LocalModel, preflight_model


@step
async def preflight(model: LocalModel, *, workdir: Path, limits: Limits) -> LocalModel:
    """Check and unpack `model`; TensorFlow does not load it here.

    Raises:
        ArchiveRefused: the archive is broken or hostile.
        ModelRefused: the model holds what no engine can hold, or what the farm never runs.
        ModelUnreadable: its files are damaged.
    """
    return await preflight_model(model, workdir=workdir, limits=limits)
