"""Builds engines, each in a process of the toolchain's own interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tasks.children.run import ChildAnswer, ChildProgram, Confinement
from tasks.children.workspace import Workspace
from tasks.domain.compatibility import Compatibility, ReadBack
from tasks.domain.corners import shapes_document
from tasks.domain.digest import BlobRef
from tasks.domain.errors import DigestMismatch, TargetUnavailable
from tasks.domain.gpu_table import device_slug, unsupported_plan_option
from tasks.domain.record import TensorSpec
from tasks.domain.request import Precision, Shapes
from tasks.domain.target import EngineTarget, ToolchainInfo
from tasks.tensorrt.documents import read_form, read_info, read_specs, read_target, target_document
from tasks.tensorrt.inside.families.registry import family_of
from tasks.tensorrt.plugins import PluginFile, plugins_document
from tasks.tensorrt.timing import TimingInput, TimingOutcome, read_timing, timing_request
from tasks.tensorrt.toolchain import Toolchain


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineJob:
    """An engine to build.

    Attributes:
        toolchain: the toolchain that builds it.
        target: where it shall run; several compute capabilities of TensorRT-RTX make one portable plan.
        onnx: the graph, in the precision that `graph_precision` returns.
        precision: the requested arithmetic.
        shapes: shapes by input, of the first profile; inputs with fixed shapes may be missing.
        workspace_mib: most scratch memory on the GPU, in MiB.
        optimization_level: 0 (fast build) to 5 (fast engine).
        gpu_index: the GPU to build on, among the visible ones; TensorRT-RTX needs none.
        plugins: libraries that the building process loads.
        further_profiles: shapes by input of each further profile.
        compatibility: where else the plan may run.
        refittable: whether its weights can be replaced later.
        stripped: whether its weights are left out.
        timing: where it gets its timings from; None: it measures every kernel and stores no timings.
    """

    toolchain: Toolchain
    target: EngineTarget
    onnx: Path
    precision: Precision
    shapes: Shapes
    workspace_mib: int
    optimization_level: int
    gpu_index: int | None
    plugins: tuple[PluginFile, ...] = ()
    further_profiles: tuple[Shapes, ...] = ()
    compatibility: Compatibility = field(default_factory=Compatibility)
    refittable: bool = False
    stripped: bool = False
    timing: TimingInput | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """A plan and its properties.

    Attributes:
        plan: the engine's file, bare.
        ref: SHA-256 and size of the engine as TensorRT returned it, taken in the building process before the
            file was written; check the file against it wherever the file is read.
        target: where it runs, as the building process probed it.
        info: the interpreter that built it.
        inputs: inputs in the graph's order, with the engine's own element types.
        outputs: outputs in the graph's order.
        seconds: wall time by phase: `load`, `parse`, `build`, `inspect`.
        peak_mib: peak memory of the building process on the host, in MiB.
        warnings: TensorRT's warnings, shortened.
        plugins: libraries that must be loaded before the plan.
        layers: a JSON file with the report of the engine inspector; None if it could not inspect the plan.
        no_layers: why not; empty if it was.
        read_back: what TensorRT reports of the plan's form; None if the plan could not be loaded.
        carries_code: whether it contains a runtime, which its user must allow.
        stripped: whether it has no weights and must be refitted before it runs.
        timing: the timings that it used and wrote.
    """

    plan: Path
    ref: BlobRef
    target: EngineTarget
    info: ToolchainInfo
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    seconds: Mapping[str, float]
    peak_mib: float
    warnings: tuple[str, ...]
    plugins: tuple[PluginFile, ...] = ()
    layers: Path | None = None
    no_layers: str = ""
    read_back: ReadBack | None = None
    carries_code: bool = False
    stripped: bool = False
    timing: TimingOutcome = field(default_factory=TimingOutcome)


def graph_precision(target: EngineTarget, precision: Precision) -> Precision:
    """Return the precision to write into the graph for `target`; FP32 if `precision` is a flag of the build.

    TensorRT 11 and TensorRT-RTX take FP16 and BF16 from casts in the graph, 8 and 10 from flags. INT8 and FP8
    are Q/DQ nodes everywhere; operations that are not quantised compute in FP32. TF32 is a flag everywhere.

    Raises:
        ToolchainBroken: the farm does not know the target's TensorRT family.
    """
    family = family_of(target.flavour.value, str(target.version))
    return precision if precision in family.IN_GRAPH else Precision.FP32


async def build_engine(job: EngineJob, *, work: Workspace) -> BuiltEngine:
    """Build the plan in a file of its own below `work`; if that fails, no file is left there.

    Raises:
        TargetUnavailable: the building process runs on another target than `job.target`, or TensorRT-RTX does
            not build for it, or its plans do not support a requested option.
        BuildRefused: TensorRT cannot parse the graph, or has no implementation for it.
        RequestInvalid: the shapes do not fit the graph's inputs.
        GpuUnavailable: a GPU is needed and missing, or out of memory.
        ToolchainBroken: the toolchain does not load.
        PluginRefused: a library is not the requested one, or does not load.
        TimingCacheMiss: a reproducible build needs timings that its cache does not have.
        DigestMismatch: the file differs from the engine in memory.
        PlanLacksOption: the plan lacks something that `job` asks for.
        ChildCrashed: TensorRT crashed its process.
        ChildOutOfMemory: it reached `work.limits.memory_mib`.
        ChildTimedOut: it reached `work.limits.seconds`.
    """
    _check_form(job)
    plan = work.new("engine", ".plan")
    try:
        program = child_program(job.toolchain, "build", job.gpu_index)
        request = build_request(job, plan) | {"timing": timing_request(job.timing, work)}
        answer = await work.run(program, request)
        return _built(job, plan, request, answer)
    except BaseException:
        plan.unlink(missing_ok=True)
        _layers_of(plan).unlink(missing_ok=True)
        raise


def child_program(toolchain: Toolchain, name: str, gpu_index: int | None) -> ChildProgram:
    """Return the program `name` of `tasks.tensorrt.inside` in the toolchain's interpreter."""
    return ChildProgram(
        module=f"tasks.tensorrt.inside.{name}",
        step=name,
        interpreter=toolchain.interpreter,
        confinement=Confinement.FULL if gpu_index is None else toolchain.on_gpu,
    )


def _layers_of(plan: Path) -> Path:
    return plan.with_suffix(".layers.json")


def _check_form(job: EngineJob) -> None:
    reason = unsupported_plan_option(job.target, job)
    if reason is not None:
        raise TargetUnavailable(
            wanted=f"a plan for {device_slug(job.target)} with the requested options",
            found=reason,
            fix="remove that option from build.yaml, or name other targets",
        )


def build_request(job: EngineJob, plan: Path) -> dict[str, Any]:
    """Return `job` as the building child takes it, except for its timings."""
    return {
        "module": job.toolchain.flavour.value,
        "target": target_document(job.target),
        "onnx": job.onnx,
        "plan": str(plan),
        "precision": job.precision.value,
        "profiles": [shapes_document(profile) for profile in (job.shapes, *job.further_profiles)],
        "workspace_mib": job.workspace_mib,
        "optimization_level": job.optimization_level,
        "gpu_index": job.gpu_index,
        "plugins": plugins_document(job.plugins),
        "compatibility": asdict(job.compatibility),
        "refittable": job.refittable,
        "stripped": job.stripped,
        "layers": str(_layers_of(plan)),
    }


def _built(job: EngineJob, plan: Path, request: dict[str, Any], answer: ChildAnswer) -> BuiltEngine:
    result = answer.result
    ref = BlobRef(**result["plan"])
    _check_size(plan, ref)
    return BuiltEngine(
        plan=plan,
        ref=ref,
        target=read_target(result["target"]),
        info=read_info(result["info"]),
        inputs=read_specs(result["inputs"]),
        outputs=read_specs(result["outputs"]),
        seconds=result["seconds"],
        peak_mib=answer.peak_mib,
        warnings=tuple(result["warnings"]),
        plugins=job.plugins,
        layers=None if result["no_layers"] else _layers_of(plan),
        no_layers=result["no_layers"],
        read_back=read_form(result["read_back"]),
        carries_code=job.compatibility.carries_code,
        stripped=job.stripped,
        timing=read_timing(request["timing"], result["timing"]),
    )


def _check_size(plan: Path, ref: BlobRef) -> None:
    """Detect a truncated file at once; only a reader that hashes it can detect the rest."""
    size = plan.stat().st_size
    if size != ref.size:
        raise DigestMismatch(
            wanted=f"a plan of {ref.size} bytes, as TensorRT built it",
            found=f"{size} bytes in {plan.name}",
            fix="build again; if it happens again, find out what else writes into the farm's work directory",
        )
