"""Where an engine that the gate refused first differs from the graph that it was built from."""

from __future__ import annotations

from pathlib import Path

from tasks.children.workspace import Workspace
from tasks.domain.departure import Departure
from tasks.domain.errors import FarmError, GateError
from tasks.domain.record import Verification
from tasks.onnx.graph import inner_values
from tasks.step import step
from tasks.tensorrt.engine import EngineJob
from tasks.tensorrt.locating import locate_departure

_GROSS = 10
"""An error of up to this many times the tolerance can be accumulated rounding."""


@step
async def locate(job: EngineJob, reference: Path, refused: GateError, *, work: Workspace) -> Departure:
    """Return where the engine of `job` first differs; if that cannot be found, the answer says why."""
    verification = refused.verification
    if not isinstance(verification, Verification) or verification.worst is None:
        return _unknown("", "the engine gave nothing to compare")
    corner = verification.worst.corner
    if verification.worst.relative <= _GROSS * verification.tolerance:
        return _unknown(corner, "a low precision can be off by that little, without a wrong node")
    if job.plugins:
        return _unknown(corner, "onnxruntime has none of the plugins that compute a part of the graph")
    try:
        inner = await inner_values(job.onnx, reference, corner, work=work)
        return await locate_departure(job, reference, inner, tolerance=verification.tolerance, work=work)
    except FarmError as error:  # the engine is refused anyway
        return _unknown(corner, f"{error.class_name}: {error.found}")


def _unknown(corner: str, reason: str) -> Departure:
    return Departure(at=None, relative=None, corner=corner, builds=0, reason=reason)
