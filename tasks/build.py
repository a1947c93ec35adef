"""Step 7: TensorRT builds a plan, in its own interpreter."""

from __future__ import annotations

from pathlib import Path

from tasks.children.run import Limits
from tasks.domain.order import EngineOrder
from tasks.step import step
from tasks.tensorrt.engine import BuiltEngine, EngineJob, build_engine
from tasks.tensorrt.plugins import PluginFile
from tasks.tensorrt.site import BuildSite


@step
async def build(  # noqa: PLR0913 (an order, its graph, and where it is built)
    order: EngineOrder,
    onnx: Path,
    site: BuildSite,
    *,
    plugins: tuple[PluginFile, ...],
    workdir: Path,
    limits: Limits,
) -> BuiltEngine:
    """Build the plan of `order` from the graph in `onnx`.

    Raises:
        BuildRefused: TensorRT cannot parse the graph, or has no implementation for it.
        TargetUnavailable: the process that builds finds itself on another target.
        GpuUnavailable: the GPU is gone, busy or out of memory.
        PluginRefused: a library is not the one that the request names, or does not load.
        ChildCrashed: TensorRT took its process down.
    """
    job = EngineJob(
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
    return await build_engine(job, workdir=workdir, limits=limits)
