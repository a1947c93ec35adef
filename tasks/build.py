"""Step 7: TensorRT builds a plan, in its own interpreter."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from tasks.children.workspace import Workspace
from tasks.domain.errors import BuildRefused, ChildCrashed
from tasks.domain.order import EngineOrder
from tasks.domain.request import TimingMode
from tasks.step import step
from tasks.tensorrt.engine import BuiltEngine, EngineJob, build_engine
from tasks.tensorrt.plugins import PluginFile
from tasks.tensorrt.site import BuildSite

_LOG = logging.getLogger(__name__)


def engine_job(
    order: EngineOrder, onnx: Path, site: BuildSite, *, plugins: tuple[PluginFile, ...]
) -> EngineJob:
    """Return the job that builds the plan of `order` from the graph in `onnx`."""
    return EngineJob(
        toolchain=site.toolchain,
        target=order.target,
        onnx=onnx,
        precision=order.options.precision,
        shapes=order.options.shapes,
        workspace_mib=order.options.workspace_mib,
        optimization_level=order.options.optimization_level,
        gpu_index=site.gpu_index,
        further_profiles=order.options.further_profiles,
        compatibility=order.options.compatibility,
        refittable=order.options.refittable,
        stripped=order.options.stripped,
        plugins=plugins,
    )


@step
async def build(job: EngineJob, *, work: Workspace) -> BuiltEngine:
    """Build the plan of `job`; if that fails with shared timings, retry once without them.

    Raises:
        BuildRefused: TensorRT cannot parse the graph, or has no implementation for it.
        TargetUnavailable: the building process runs on another target.
        GpuUnavailable: the GPU is missing, busy or out of memory.
        PluginRefused: a library is not the requested one, or does not load.
        PlanLacksOption: the plan lacks something that the request asks for.
        TimingCacheMiss: a reproducible build needs timings that its cache does not have.
        ChildCrashed: TensorRT crashed its process.
        ChildKilled: another process killed it.
    """
    try:
        return await build_engine(job, work=work)
    except (BuildRefused, ChildCrashed) as error:
        timing = job.timing
        if timing is None or timing.cache is None or timing.mode is not TimingMode.SHARED:
            raise
        # A timing names a kernel; a kernel that does not run here ends the build:
        # https://github.com/NVIDIA/TensorRT/issues/2144
        _LOG.warning("retried without the shared timing cache: %s", error)
        note = f"the shared timing cache was dropped: with it the build failed: {error.found}"
    cold = replace(job, timing=replace(timing, cache=None))
    built = await build_engine(cold, work=work)
    return replace(built, timing=replace(built.timing, notes=(note, *built.timing.notes)))
