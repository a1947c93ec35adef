"""What is asked of plans on a real GPU: profiles, compatible and refittable plans, and their layers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flows.settings import settings
from tasks.children.workspace import Workspace
from tasks.domain.compatibility import Compatibility, HardwareLevel
from tasks.domain.errors import FarmError
from tasks.domain.request import Precision, ShapeRange
from tasks.tensorrt.engine import EngineJob, build_engine
from tasks.tensorrt.verification import verify_engine
from tests.gpu.stage import Stage

_MODEL = "digits"


async def plan_forms(stage: Stage) -> dict[str, Any]:
    """Build and run the small network in each form; TensorRT's lean runtime may be missing, and is told."""
    record = stage.engine(_MODEL, Precision.FP32)
    _, reference = stage.files(record)
    job = stage.job(stage.graph(record), record)
    further = {name: _larger(shape) for name, shape in job.shapes.items()}
    compatible = {
        "version": Compatibility(version=True),
        "version without runtime": Compatibility(version=True, lean_runtime=False),
        "ampere_plus": Compatibility(hardware=HardwareLevel.AMPERE_PLUS),
    }
    forms = {
        "plain": job,
        "two profiles": replace(job, further_profiles=(further,)),
        "refittable": replace(job, refittable=True),
        **{name: replace(job, compatibility=compatibility) for name, compatibility in compatible.items()},
    }
    results = {
        name: await _built(stage, form, reference, record.options.tolerance) for name, form in forms.items()
    }
    needed = ("plain", "two profiles", "refittable", "ampere_plus")
    return {"as it must be": all(results[name].get("right") for name in needed), **results}


def _larger(shape: ShapeRange) -> ShapeRange:
    """Return batches up to four times as large, from the smallest on."""
    large = (shape.max[0] * 4, *shape.max[1:])
    return ShapeRange(min=shape.min, opt=large, max=large)


async def _built(stage: Stage, job: EngineJob, reference: Path, tolerance: float) -> dict[str, Any]:
    limits = settings().limits
    try:
        built = await build_engine(job, work=Workspace(folder=stage.work, limits=limits))
        result: dict[str, Any] = {
            "KiB": built.ref.size >> 10,
            "layers": None
            if built.layers is None
            else len(json.loads(built.layers.read_text("utf-8"))["Layers"]),
            "no layers": built.no_layers,
            "read back": None if built.read_back is None else asdict(built.read_back),
        }
        rows = await verify_engine(
            stage.site.toolchain, built.plan, built.ref, reference,
            carries_code=built.carries_code, gpu_index=0, work=Workspace(folder=stage.work, limits=limits),
        )  # fmt: skip
    except FarmError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    worst = max(row.relative for row in rows)
    return result | {
        "error against TensorFlow": worst,
        "right": worst <= tolerance and bool(result["layers"]),
    }
