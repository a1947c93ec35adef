"""Finds where an engine first differs from its graph, by building engines that keep inner tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.children.workspace import Workspace
from tasks.domain.departure import Departure, InnerValues
from tasks.tensorrt.engine import EngineJob, build_request, child_program

_MOST_BUILDS = 8
_SECONDS = 120.0


async def locate_departure(
    job: EngineJob,
    reference: Path,
    inner: InnerValues,
    *,
    tolerance: float,
    work: Workspace,
) -> Departure:
    """Return the first tensor whose value in the engine of `job` differs from `inner`.

    Args:
        job: the build whose engine differs from TensorFlow; it needs a GPU.
        reference: inputs and TensorFlow's outputs, see `tasks.children.reference`.
        inner: what onnxruntime computes for the tensors inside the graph.
        tolerance: the largest accepted error, relative to a tensor's largest value.
        work: for temporary files and the child; it builds at most 8 engines, and none after 2 minutes.

    Raises:
        FarmError: as `build_engine` and `verify_engine`.
    """
    whole = replace(job, stripped=False)  # an engine without weights cannot run
    request: dict[str, Any] = build_request(whole, work.folder / "unused.plan") | {
        "timing": None,
        "reference": reference,
        "corner": inner.corner,
        "values": inner.file,
        "tensors": [tensor.tensor for tensor in inner.tensors],
        "tolerance": tolerance,
        "most_builds": _MOST_BUILDS,
        "seconds": _SECONDS,
    }
    program = child_program(job.toolchain, "locate", job.gpu_index)
    result = (await work.run(program, request)).result
    return Departure(
        at=None if result["place"] is None else inner.tensors[result["place"]],
        relative=result["relative"],
        corner=inner.corner,
        builds=result["builds"],
        reason=result["reason"],
    )
